"""Waiting on streams of many slots: a standing read for each, and one wait for all answers.

A command may not read streams of two slots, even where one node has both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from redis.crc import key_slot

from celeriac.store.redis.blocking_reads import StandingReads
from celeriac.store.redis.cluster.client import ClusterClient

GRACE = 5.0  # seconds that an answer may be late
MOST = 128  # slots with a connection, which is a socket at the server each


class ClusterDoorbell:
    """One thread waits at it. `longest_ms` bounds how long a node holds an answer back.

    Of more than MOST slots the ones with the newest entries ring; what comes to the others is found
    when the wait is over.
    """

    def __init__(self, client: ClusterClient, longest_ms: int) -> None:
        self._client = client
        self._reads = StandingReads(longest_ms, GRACE)

    def wait(self, streams: Mapping[str, str], seconds: float) -> Mapping[str, str | None]:
        """See StandingReads.wait."""
        try:
            return self._reads.wait(newest(by_slot(streams), MOST), self._node_of, seconds)
        except BaseException as error:
            self._client.topology.doubt(error)
            raise

    def _node_of(self, streams: Mapping[str, str]) -> Any:
        return self._client.node(self._client.node_of(next(iter(streams))))


def by_slot(streams: Mapping[str, str]) -> dict[int, dict[str, str]]:
    """The streams of each slot. Pure."""
    found: dict[int, dict[str, str]] = {}
    for stream, seen in streams.items():
        found.setdefault(key_slot(stream.encode()), {})[stream] = seen
    return found


def newest(slots: Mapping[int, Mapping[str, str]], most: int) -> Mapping[int, Mapping[str, str]]:
    """Of the slots, those whose newest known entry is the latest. Pure."""
    if len(slots) <= most:
        return slots

    def latest(slot: int) -> int:
        return max(int(seen.partition("-")[0]) for seen in slots[slot].values())

    return {slot: slots[slot] for slot in sorted(slots, key=latest, reverse=True)[:most]}
