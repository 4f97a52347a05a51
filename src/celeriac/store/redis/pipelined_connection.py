"""One connection of an event loop to which many coroutines write without queueing.

redis-py's asyncio connection belongs to one command at a time, and spends most of an append on its
pool, on a time-out for each read and on a task switch for each reply. Here every caller writes at
once and awaits a future; replies arrive in the order of the commands. Commands that are written
while other callers wait for replies are sent together, in one system call per iteration of the
loop.

redis-py still connects: it handles TLS, unix sockets, logins and Sentinels. Then this protocol
takes over the socket.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

import redis

from celeriac.store.redis.redis_py import parse_error
from celeriac.store.redis.refusal import is_demotion
from celeriac.transfer import transfer_time

Answer = bytes | int | None | redis.ResponseError


class AwaitedReplies:
    """The commands of one caller, and the replies to them so far."""

    __slots__ = ("answers", "expected", "future", "size")

    def __init__(self, future: asyncio.Future[list[Answer]], expected: int, size: int) -> None:
        self.future, self.expected, self.size = future, expected, size
        self.answers: list[Answer] = []


class PipelinedConnection(asyncio.Protocol):
    """Belongs to one event loop. When `usable` is False, it closes as soon as it is idle.

    All waiting callers fail with redis.TimeoutError if no byte arrived for `within` seconds, plus
    the time that the transfer of the sent bytes may take.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, within: float) -> None:
        self.usable = True
        self._loop, self._within = loop, within
        self._transport: Any = None
        self._waiting: deque[AwaitedReplies] = deque()
        self._outbox: list[bytes] = []
        self._received = bytearray()
        self._outstanding = 0  # bytes
        self._active_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def take_over(self, writer: asyncio.StreamWriter) -> None:
        """Take over the connected socket of a StreamWriter that nothing awaits."""
        self._writer = writer  # its garbage collection would close the transport
        self._transport = writer.transport
        self._transport.set_protocol(self)

    def send(self, packed: bytes, answers: int) -> asyncio.Future[list[Answer]]:
        """Send packed commands; the future has their replies, errors among them.

        If the connection breaks, it raises redis.ConnectionError or redis.TimeoutError, with the
        replies that arrived before as `answers`.
        """
        future: asyncio.Future[list[Answer]] = self._loop.create_future()
        if not self._waiting:
            self._active_at = self._loop.time()
            self._transport.write(packed)
        else:
            if not self._outbox:
                self._loop.call_soon(self._flush)
            self._outbox.append(packed)
        self._waiting.append(AwaitedReplies(future, answers, len(packed)))
        self._outstanding += len(packed)
        if self._timer is None:
            self._timer = self._loop.call_at(self._due(), self._check)
        return future

    def retire(self) -> None:
        """Accept no more commands; close after the last reply. Idempotent."""
        self.usable = False
        if not self._waiting:
            self._transport.close()

    def close(self) -> None:
        """Close at once; waiting callers fail. Idempotent."""
        self.usable = False
        self._stop_timer()
        if self._waiting:
            # `close` would first wait until the server has received what was written.
            self._transport.abort()
        else:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._active_at = self._loop.time()
        received = self._received
        received += data
        at = 0
        while self._waiting:
            try:
                parsed = parse_answer(received, at)
            except ValueError as error:
                self._fail(lambda error=error: redis.ConnectionError(str(error)))  # type: ignore[misc]
                return
            if parsed is None:
                break
            at, answer = parsed
            self._answered(answer)
        del received[:at]
        if not (self.usable or self._waiting):
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        reason = str(exc) if exc else "Connection closed by server."
        self._fail(lambda: redis.ConnectionError(reason))

    def _answered(self, answer: Answer) -> None:
        if isinstance(answer, redis.ResponseError) and is_demotion(answer):
            self.usable = False  # its address may lead to another master now
        head = self._waiting[0]
        head.answers.append(answer)
        if len(head.answers) == head.expected:
            self._waiting.popleft()
            self._outstanding -= head.size
            if not head.future.done():  # the caller may have been cancelled
                head.future.set_result(head.answers)

    def _flush(self) -> None:
        outbox, self._outbox = self._outbox, []
        if not self._transport.is_closing():
            self._transport.write(b"".join(outbox))

    def _due(self) -> float:
        return self._active_at + self._within + transfer_time(self._outstanding)

    def _check(self) -> None:
        """Check for a timeout. The timer is set only here: one for each command costs more."""
        self._timer = None
        if not self._waiting:
            return
        if self._loop.time() >= self._due():
            self._fail(lambda: redis.TimeoutError("Timeout reading from socket"))
        else:
            self._timer = self._loop.call_at(self._due(), self._check)

    def _fail(self, make_error: Callable[[], redis.RedisError]) -> None:
        self.usable = False
        self._stop_timer()
        self._transport.abort()
        waiting, self._waiting, self._outbox = self._waiting, deque(), []
        for pending in waiting:
            if not pending.future.done():
                # One error each: callers record on it how many events were appended.
                error = make_error()
                error.answers = pending.answers  # type: ignore[attr-defined]
                pending.future.set_exception(error)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def parse_answer(received: bytearray, at: int) -> tuple[int, Answer] | None:
    """Return the end of the reply that begins at `at`, and the reply; None if it is incomplete.

    Parses the replies of commands that append (RESP): a bulk string, an integer, a simple string or
    an error. Raises ValueError for anything else.
    """
    end = received.find(b"\r\n", at)
    if end < 0:
        return None
    kind, line = received[at], received[at + 1 : end]
    end += 2
    if kind == b"$"[0]:
        size = int(line)
        if size < 0:
            return end, None
        if len(received) < end + size + 2:
            return None
        return end + size + 2, bytes(received[end : end + size])
    if kind == b"-"[0]:
        return end, parse_error(line.decode(errors="replace"))
    if kind == b"+"[0]:
        return end, bytes(line)
    if kind == b":"[0]:
        return end, int(line)
    if kind == b"_"[0]:
        return end, None
    raise ValueError(f"Protocol error: {bytes(received[at : at + 20])!r}")
