"""The nodes of a cluster as last read, and which errors invalidate that."""

from __future__ import annotations

from collections.abc import Iterator

import redis
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MovedError,
    ReadOnlyError,
    TryAgainError,
)

from celeriac.redis_url import ClusterURL, Node
from celeriac.store.redis.cluster.slots import SlotMap

CHANGED = (
    redis.ConnectionError,
    redis.TimeoutError,
    ClusterDownError,
    MovedError,
    ReadOnlyError,
)
REDIRECTIONS = 5  # more than a stable cluster ever needs


class Topology:
    """Shared by the threads of a process without a lock: the map is replaced, never changed.

    A stale map is read again before the next command. So a failover costs each process one failed
    command, which `connection.persist` retries.
    """

    def __init__(self, url: ClusterURL) -> None:
        self.url = url
        self.map = SlotMap()
        self.stale = True

    def candidates(self) -> Iterator[Node]:
        """Yield the nodes to read the map from: the known masters, then the seeds."""
        yield from dict.fromkeys((*self.map.masters, *self.url.seeds))

    def learn(self, slots: SlotMap) -> None:
        self.map, self.stale = slots, False

    def node_of(self, key: str | bytes) -> Node:
        """Return the node of a key. Raises redis.ClusterDownError (transient) if there is none."""
        node = self.map.node_of(key)
        if node is None:
            self.stale = True
            raise ClusterDownError("CLUSTERDOWN no node serves the slot of this key")
        return node

    def doubt(self, error: BaseException) -> None:
        """Mark the map as stale if the error shows that the cluster changed."""
        if isinstance(error, CHANGED):
            self.stale = True


def redirected(error: BaseException, *, script: bool) -> Node | None:
    """Return the node to which the command should be sent instead; None if there is none.

    While a slot moves key by key, ASK redirects commands for keys that have moved. A script
    declares one key that never exists, so it would always be redirected, and would create the
    domain's keys again before they arrive. It waits for the end of the move instead, as for
    TRYAGAIN.
    """
    if isinstance(error, AskError) and (isinstance(error, MovedError) or not script):
        return error.host, int(error.port)
    return None


def as_transient(error: BaseException, *, script: bool) -> BaseException:
    """Return the error for callers: a script's ASK is transient like TRYAGAIN."""
    if isinstance(error, AskError) and not isinstance(error, MovedError) and script:
        return TryAgainError("TRYAGAIN the slot of this domain is moving to another node")
    return error
