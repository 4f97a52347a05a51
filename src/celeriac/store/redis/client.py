"""A client of Redis that keeps its connections.

redis-py's own client spends twice as long around a command (the pool's lock and poll, retries, two
records for its metrics) as on packing it and parsing the reply: measured in docs/adr/0008.
It uses public methods only: `connection_pool.get_connection`, and of a connection `send_command`,
`pack_commands`, `send_packed_command`, `read_response`, `can_read`, `disconnect`.
"""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

import redis
from redis.exceptions import ResponseError

from celeriac.store.redis.redis_py import connection_of
from celeriac.store.redis.refusal import is_demotion
from celeriac.transfer import slices, transfer_time

# After a longer idle time, a connection is first checked: the server may have closed it.
FRESH = 0.05  # seconds

Connection = Any  # redis-py has no common type for the connections of its pools


class DirectClient(redis.Redis):
    """redis.Redis for threads and over forks, without retries.

    Each connection is used by one command at a time, and closed after an incomplete one.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # Without this, a circle of references could free sockets before they are closed.
        weakref.finalize(self, self.connection_pool.disconnect).atexit = False
        self._idle: list[tuple[Connection, float]] = []
        self._process = os.getpid()

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Execute a command in one round trip. Raises redis.RedisError."""
        connection = self._borrow()
        parse: Any = self.parse_response  # it has no types
        try:
            packed = connection.pack_command(*args)
            if len(packed) == 1:
                connection.send_packed_command(packed)
            else:  # redis-py packs a large command in several pieces
                _await_answer(connection, _send(connection, b"".join(packed)))
            answer = parse(connection, args[0], **options)
        except ResponseError as error:
            self._return(connection, demoted=is_demotion(error))
            raise
        except BaseException:
            self._drop(connection)
            raise
        self._release(connection)
        return answer

    def execute_many(self, commands: Iterable[Sequence[Any]]) -> list[Any]:
        """Return the raw replies, in one round trip; a refused command's is its ResponseError."""
        return self.begin_many(list(commands))()

    def transact_many(
        self, transactions: Sequence[Sequence[Sequence[Any]]]
    ) -> list[list[Any] | Exception]:
        """Return the raw replies of each transaction (MULTI), all in one round trip.

        An error in place of the replies means that no command of that transaction was executed.
        """
        commands = [
            command
            for transaction in transactions
            for command in (("MULTI",), *transaction, ("EXEC",))
        ]
        answers = self.execute_many(commands) if commands else []
        results: list[list[Any] | Exception] = []
        for transaction in transactions:
            _, *queued, executed = answers[: len(transaction) + 2]
            del answers[: len(transaction) + 2]
            refused = (answer for answer in queued if isinstance(answer, Exception))
            results.append(next(refused, executed))
        return results

    def begin_many(self, commands: Sequence[Sequence[Any]]) -> Callable[[], list[Any]]:
        """Send commands; the returned function waits for their replies, as that of `send` does."""
        connection = self._borrow()
        try:
            packed = b"".join(connection.pack_commands(commands))
        except BaseException:
            self._release(connection)
            raise
        return self._sent(connection, packed, len(commands))

    def send(self, packed: bytes, answers: int) -> Callable[[], list[Any]]:
        """Send packed commands; the returned function waits for their replies.

        It must be called once, or the connection is lost. Raises as `execute_many` does; the error
        then has the replies that arrived before it as `answers`.
        """
        return self._sent(self._borrow(), packed, answers)

    def pipeline(self, *args: Any, **options: Any) -> Any:
        """Return redis-py's pipeline. It needs a connection of the pool, so idle ones are freed."""
        while self._idle:
            self.connection_pool.release(self._idle.pop()[0])
        return super().pipeline(*args, **options)

    def _sent(self, connection: Connection, packed: bytes, answers: int) -> Callable[[], list[Any]]:
        try:
            beyond = _send(connection, packed)
        except BaseException:
            self._drop(connection)
            raise

        def read() -> list[Any]:
            replies: list[Any] = []
            try:
                for _ in range(answers):
                    if beyond:
                        _await_answer(connection, beyond)
                    try:
                        replies.append(connection.read_response())
                    except ResponseError as error:
                        replies.append(error)
            except BaseException as error:
                error.answers = replies  # type: ignore[attr-defined]
                self._drop(connection)
                raise
            demoted = any(isinstance(r, ResponseError) and is_demotion(r) for r in replies)
            self._return(connection, demoted=demoted)
            return replies

        return read

    def _borrow(self) -> Connection:
        if self._process != os.getpid():
            # After a fork, the sockets belong to the parent.
            self._idle = []
            self._process = os.getpid()
        try:
            # Not `if`: another thread may take the last one at the same time.
            connection, since = self._idle.pop()
        except IndexError:
            return connection_of(self.connection_pool)
        if time.monotonic() - since > FRESH and _is_unusable(connection):
            connection.disconnect()
        return connection

    def _return(self, connection: Connection, *, demoted: bool) -> None:
        """Release the connection; close all idle ones if the server became a replica.

        A demoted master keeps its connections open. A new one goes to the current master.
        """
        if not demoted:
            self._release(connection)
            return
        self._drop_idle()
        self._drop(connection)

    def _drop_idle(self) -> None:
        dropped = []
        while self._idle:
            with suppress(IndexError):  # another thread took the last one
                dropped.append(self._idle.pop()[0])
        for connection in dropped:
            self._drop(connection)

    def _release(self, connection: Connection) -> None:
        self._idle.append((connection, time.monotonic()))

    def _drop(self, connection: Connection) -> None:
        # It connects again when it is used.
        connection.disconnect()
        self._release(connection)


def _send(connection: Connection, packed: bytes) -> float:
    """Send packed commands; return the additional seconds that their replies may take."""
    connection.send_packed_command(slices(packed))
    return transfer_time(len(packed))


def _await_answer(connection: Connection, beyond: float) -> None:
    """Wait until a reply arrives. Raises redis.TimeoutError."""
    if beyond and not connection.can_read(timeout=(connection.socket_timeout or 0) + beyond):
        raise redis.TimeoutError("Timeout reading from socket")


def _is_unusable(connection: Connection) -> bool:
    """Return whether the server closed the connection or sent unexpected data."""
    try:
        return bool(connection.can_read())
    except (redis.ConnectionError, redis.TimeoutError, OSError):
        return True
