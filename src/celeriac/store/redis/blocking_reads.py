"""Blocking reads of streams that stay with their servers until they are answered.

Who waits anew for two hundred streams has to write down all of their names, and the server to look
at each and to note who waits there: together 0.4 ms, for each event that comes. So streams are read
in groups, each on a connection of its own; to wait again costs a command only for the groups that
rang. There is no thread, so nothing that a fork could catch with a lock held.
"""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import redis

from celeriac.store.redis.redis_py import connection_of

Streams = Mapping[str, str]  # each with the newest entry that is known


@dataclass(slots=True)
class Reading:
    """An XREAD that its server has not answered yet."""

    client: Any
    connection: Any
    streams: Streams
    until: float

    @property
    def socket(self) -> Any:
        """redis-py 5.2 to 8.1 name it nowhere else; kombu reads it here too."""
        return self.connection._sock

    def close(self, *, answered: bool = False) -> None:
        """Gives the connection back; an answer that nobody read must meet no other command."""
        if not answered:
            self.connection.disconnect()
        self.client.connection_pool.release(self.connection)


class StandingReads:
    """One thread waits for them. A server holds an answer back for `longest_ms`; one that is
    `grace` seconds later than that has lost its link."""

    def __init__(self, longest_ms: int, grace: float) -> None:
        self._longest_ms = longest_ms
        self._grace = grace
        self._readings: dict[int, Reading] = {}
        self._selector: selectors.BaseSelector | None = None

    def wait(
        self, groups: Mapping[int, Streams], client_of: Callable[[Streams], Any], seconds: float
    ) -> Mapping[str, str | None]:
        """The streams with entries newer than the given ids, each with its newest entry, or None
        where there are several; {} when none came in time.

        `client_of` is asked where a group is to be read anew. Raises redis.RedisError where a
        server went away; then every read is begun anew.
        """
        try:
            self._read(groups, client_of)
            return self._answered(seconds)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Drops what is being read."""
        for group in list(self._readings):
            self._end(group)
        if self._selector is not None:
            self._selector.close()
            self._selector = None

    def _read(self, groups: Mapping[int, Streams], client_of: Callable[[Streams], Any]) -> None:
        for group, reading in list(self._readings.items()):
            # Sent for other streams, its answer would not tell what is asked now.
            if reading.streams != groups.get(group):
                self._end(group)
        for group, streams in groups.items():
            if group not in self._readings:
                self._begin(group, streams, client_of(streams))

    def _begin(self, group: int, streams: Streams, client: Any) -> None:
        connection: Any = connection_of(client.connection_pool)
        until = time.monotonic() + self._longest_ms / 1000
        reading = self._readings[group] = Reading(client, connection, streams, until)
        connection.send_command(
            "XREAD", "COUNT", 2, "BLOCK", self._longest_ms,
            "STREAMS", *streams, *streams.values(),
        )  # fmt: skip
        if self._selector is None:
            self._selector = selectors.DefaultSelector()
        self._selector.register(reading.socket, selectors.EVENT_READ, group)

    def _answered(self, seconds: float) -> Mapping[str, str | None]:
        if self._selector is None:
            return {}
        woken: dict[str, str | None] = {}
        for key, _ in self._selector.select(seconds):
            woken |= newest_in(self._readings[key.data].connection.read_response())
            self._end(key.data, answered=True)
        now = time.monotonic()
        if any(now > reading.until + self._grace for reading in self._readings.values()):
            raise redis.TimeoutError("a server does not answer any more")
        return woken

    def _end(self, group: int, *, answered: bool = False) -> None:
        reading = self._readings.pop(group)
        if self._selector is not None:
            # Before the socket is closed: another one will have its number.
            with suppress(KeyError, ValueError):
                self._selector.unregister(reading.socket)
        reading.close(answered=answered)


def newest_in(answer: Any) -> dict[str, str | None]:
    """The streams in the answer of XREAD COUNT 2, each with its one entry, or None where there
    are more. The answer has pairs in RESP2, a map in RESP3."""
    streams = answer.items() if isinstance(answer, dict) else answer or ()
    return {key.decode(): _only(entries) for key, entries in streams}


def _only(entries: Any) -> str | None:
    entry: bytes = entries[0][0]
    return entry.decode() if len(entries) == 1 else None
