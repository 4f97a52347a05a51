"""Blocking reads of streams that stay open at their servers until a reply arrives.

Waiting for two hundred streams again would send all of their names, and the server would check each
stream and register the waiting client: together 0.4 ms for each event. So streams are read in
groups, each on its own connection, and only groups with a reply are read again. There is no thread,
so a fork cannot copy a held lock.
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

Streams = Mapping[str, str]  # each with the newest entry that the caller has seen


@dataclass(slots=True)
class BlockingRead:
    """An XREAD that its server has not answered yet."""

    client: Any
    connection: Any
    streams: Streams
    until: float

    @property
    def socket(self) -> Any:
        """The socket. redis-py 5.2 to 8.1 has no public name for it; kombu also reads this one."""
        return self.connection._sock

    def close(self, *, answered: bool = False) -> None:
        """Release the connection. An unread reply must not be read as that of another command."""
        if not answered:
            self.connection.disconnect()
        self.client.connection_pool.release(self.connection)


class BlockingReads:
    """The blocking reads of one thread.

    A server blocks a read for `longest_ms`. If its reply is `grace` seconds late, the connection is
    considered lost.
    """

    def __init__(self, longest_ms: int, grace: float) -> None:
        self._longest_ms = longest_ms
        self._grace = grace
        self._reads: dict[int, BlockingRead] = {}
        self._selector: selectors.BaseSelector | None = None

    def wait(
        self, groups: Mapping[int, Streams], client_of: Callable[[Streams], Any], seconds: float
    ) -> Mapping[str, str | None]:
        """Return the streams with entries newer than the given ids, {} if none arrived in time.

        Each comes with its newest entry, or None if there are several. `client_of` returns the
        client for a group that is read again. Raises redis.RedisError if a server is unreachable;
        the next call then begins all reads again.
        """
        try:
            self._read(groups, client_of)
            return self._answered(seconds)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Cancel all reads."""
        for group in list(self._reads):
            self._end(group)
        if self._selector is not None:
            self._selector.close()
            self._selector = None

    def _read(self, groups: Mapping[int, Streams], client_of: Callable[[Streams], Any]) -> None:
        for group, read in list(self._reads.items()):
            # A reply to a read of other streams would be incomplete.
            if read.streams != groups.get(group):
                self._end(group)
        for group, streams in groups.items():
            if group not in self._reads:
                self._begin(group, streams, client_of(streams))

    def _begin(self, group: int, streams: Streams, client: Any) -> None:
        connection: Any = connection_of(client.connection_pool)
        until = time.monotonic() + self._longest_ms / 1000
        read = self._reads[group] = BlockingRead(client, connection, streams, until)
        connection.send_command(
            "XREAD", "COUNT", 2, "BLOCK", self._longest_ms,
            "STREAMS", *streams, *streams.values(),
        )  # fmt: skip
        if self._selector is None:
            self._selector = selectors.DefaultSelector()
        self._selector.register(read.socket, selectors.EVENT_READ, group)

    def _answered(self, seconds: float) -> Mapping[str, str | None]:
        if self._selector is None:
            return {}
        woken: dict[str, str | None] = {}
        for key, _ in self._selector.select(seconds):
            woken |= newest_in(self._reads[key.data].connection.read_response())
            self._end(key.data, answered=True)
        now = time.monotonic()
        if any(now > read.until + self._grace for read in self._reads.values()):
            raise redis.TimeoutError("a server stopped replying")
        return woken

    def _end(self, group: int, *, answered: bool = False) -> None:
        read = self._reads.pop(group)
        if self._selector is not None:
            # Before the socket is closed, because its number will be reused.
            with suppress(KeyError, ValueError):
                self._selector.unregister(read.socket)
        read.close(answered=answered)


def newest_in(answer: Any) -> dict[str, str | None]:
    """Return the streams in the reply of XREAD COUNT 2, each with its only entry, or None if it has
    more. The reply has pairs in RESP2 and a map in RESP3."""
    streams = answer.items() if isinstance(answer, dict) else answer or ()
    return {key.decode(): _only(entries) for key, entries in streams}


def _only(entries: Any) -> str | None:
    entry: bytes = entries[0][0]
    return entry.decode() if len(entries) == 1 else None
