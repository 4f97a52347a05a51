"""Waiting on streams of many slots: a blocking XREAD for each, and one wait for all answers.

A command may not read streams of two slots, even where one node has both. So each slot has a
connection of its own, on which a read stays until it is answered: waiting again costs no command.
There is no thread, so nothing that a fork could catch with a lock held.
"""

from __future__ import annotations

import contextlib
import selectors
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import redis
from redis.crc import key_slot

from celeriac.cluster.client import ClusterClient
from celeriac.cluster.command import newest_in

GRACE = 5.0  # seconds that an answer may be late
MOST = 128  # slots with a connection: 6 µs of each wait, and a socket at the server, for each


@dataclass(slots=True)
class Reading:
    """An XREAD that its node has not answered yet."""

    client: Any
    connection: Any
    streams: Mapping[str, str]
    until: float

    def close(self, *, answered: bool = False) -> None:
        """Gives the connection back; an answer that nobody read must meet no other command."""
        if not answered:
            self.connection.disconnect()
        self.client.connection_pool.release(self.connection)


class ClusterDoorbell:
    """One thread waits at it. `longest_ms` bounds how long a node holds an answer back.

    Of more than MOST slots the ones with the newest entries ring; what comes to the others is found
    when the wait is over.
    """

    def __init__(self, client: ClusterClient, longest_ms: int) -> None:
        self._client = client
        self._longest_ms = longest_ms
        self._readings: dict[int, Reading] = {}

    def wait(self, streams: Mapping[str, str], seconds: float) -> Mapping[str, str | None]:
        """The streams with entries newer than the given ids, each with its newest entry, or None
        where there are several; {} when none came in time.

        Raises redis.RedisError where a node went away; then every read is begun anew.
        """
        try:
            self._read(newest(by_slot(streams), MOST))
            return self._answered(seconds)
        except BaseException as error:
            self.close()
            self._client.topology.doubt(error)
            raise

    def close(self) -> None:
        """Drops what is being read."""
        while self._readings:
            self._readings.popitem()[1].close()

    def _read(self, wanted: Mapping[int, Mapping[str, str]]) -> None:
        for slot, reading in list(self._readings.items()):
            # Sent for other streams, its answer would not tell what is asked now.
            if reading.streams != wanted.get(slot):
                self._readings.pop(slot).close()
        for slot, streams in wanted.items():
            if slot not in self._readings:
                self._begin(slot, streams)

    def _begin(self, slot: int, streams: Mapping[str, str]) -> None:
        client = self._client.node(self._client.node_of(next(iter(streams))))
        connection: Any = client.connection_pool.get_connection()
        until = time.monotonic() + self._longest_ms / 1000
        self._readings[slot] = Reading(client, connection, streams, until)
        connection.send_command(
            "XREAD", "COUNT", 2, "BLOCK", self._longest_ms,
            "STREAMS", *streams, *streams.values(),
        )  # fmt: skip

    def _answered(self, seconds: float) -> Mapping[str, str | None]:
        with contextlib.closing(selectors.DefaultSelector()) as selector:
            for slot, reading in self._readings.items():
                # redis-py 5.2 to 8.1 name the socket nowhere else; kombu reads it here too.
                selector.register(reading.connection._sock, selectors.EVENT_READ, slot)
            ready = [key.data for key, _ in selector.select(seconds)]
        woken: dict[str, str | None] = {}
        for slot in ready:
            woken |= newest_in(self._readings[slot].connection.read_response())
            self._readings.pop(slot).close(answered=True)
        now = time.monotonic()
        if any(now > reading.until + GRACE for reading in self._readings.values()):
            raise redis.TimeoutError("a node of the cluster does not answer any more")
        return woken


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
