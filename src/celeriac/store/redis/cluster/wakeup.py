"""Wait for streams of many slots: a blocking read for each slot, and one wait for all replies.

One command cannot read streams of two slots, even if one node has both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from redis.crc import key_slot

from celeriac.store.redis.blocking_reads import BlockingReads
from celeriac.store.redis.cluster.client import ClusterClient

GRACE = 5.0  # seconds that a reply may be late
MAX_SLOTS = 128  # slots with a connection, which is a socket at the server each


class ClusterStreamWaiter:
    """Waits for streams, in one thread. `longest_ms` limits how long a node blocks a read.

    With more than MAX_SLOTS slots, only those with the newest entries wake the caller early;
    entries in other slots are read after the wait.
    """

    def __init__(self, client: ClusterClient, longest_ms: int) -> None:
        self._client = client
        self._reads = BlockingReads(longest_ms, GRACE)

    def wait(self, streams: Mapping[str, str], seconds: float) -> Mapping[str, str | None]:
        """See BlockingReads.wait."""
        try:
            return self._reads.wait(newest(by_slot(streams), MAX_SLOTS), self._node_of, seconds)
        except BaseException as error:
            self._client.topology.doubt(error)
            raise

    def _node_of(self, streams: Mapping[str, str]) -> Any:
        return self._client.node(self._client.node_of(next(iter(streams))))


def by_slot(streams: Mapping[str, str]) -> dict[int, dict[str, str]]:
    """Group streams by slot. Pure."""
    slots: dict[int, dict[str, str]] = {}
    for stream, seen in streams.items():
        slots.setdefault(key_slot(stream.encode()), {})[stream] = seen
    return slots


def newest(slots: Mapping[int, Mapping[str, str]], count: int) -> Mapping[int, Mapping[str, str]]:
    """Return the slots whose newest known entry is the latest. Pure."""
    if len(slots) <= count:
        return slots

    def latest(slot: int) -> int:
        return max(int(seen.partition("-")[0]) for seen in slots[slot].values())

    return {slot: slots[slot] for slot in sorted(slots, key=latest, reverse=True)[:count]}
