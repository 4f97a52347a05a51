"""The nodes of a cluster as they were last seen, and what an error says about that."""

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
REDIRECTIONS = 5  # more than a cluster that is at rest ever needs


class Topology:
    """Shared by the threads of a process without a lock: the map is replaced, never changed.

    A stale map is fetched anew before the next command; so a failover costs who meets it one
    failed command, which `connection.persist` tries again.
    """

    def __init__(self, url: ClusterURL) -> None:
        self.url = url
        self.map = SlotMap()
        self.stale = True

    def candidates(self) -> Iterator[Node]:
        """Whom to ask for the map: the masters known, then the seeds."""
        yield from dict.fromkeys((*self.map.masters, *self.url.seeds))

    def learn(self, slots: SlotMap) -> None:
        self.map, self.stale = slots, False

    def node_of(self, key: str | bytes) -> Node:
        """Raises redis.ClusterDownError, which is transient, where no node serves the key."""
        node = self.map.node_of(key)
        if node is None:
            self.stale = True
            raise ClusterDownError("CLUSTERDOWN no node serves the slot of this key")
        return node

    def doubt(self, error: BaseException) -> None:
        """Marks the map as stale where the error says that the cluster is not as it was."""
        if isinstance(error, CHANGED):
            self.stale = True


def redirected(error: BaseException, *, script: bool) -> Node | None:
    """Where the command should be sent at once instead; None if it may not, or need not.

    A slot that moves key by key says ASK for what it no longer has. A script names a key that
    never exists and derives the others, so it would always be sent on, and would begin the
    domain's keys anew where they have not arrived: it waits for the move to end, as TRYAGAIN says.
    """
    if isinstance(error, AskError) and (isinstance(error, MovedError) or not script):
        return error.host, int(error.port)
    return None


def settled(error: BaseException, *, script: bool) -> BaseException:
    """The error as callers shall see it: a script's ASK is transient like TRYAGAIN."""
    if isinstance(error, AskError) and not isinstance(error, MovedError) and script:
        return TryAgainError("TRYAGAIN the slot of this domain is on its way to another node")
    return error
