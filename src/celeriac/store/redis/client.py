"""A client of Redis that keeps its connections.

redis-py's own client spends twice as long around a command (the pool's lock and poll, retries, two
records for its metrics) as on packing it and parsing the reply: measured in docs/adr/0008.
It uses public methods only: `connection_pool.get_connection`, and of a connection `connect`,
`send_command`, `pack_commands`, `send_packed_command`, `read_response`, `can_read`, `disconnect`.

A time limit, Ctrl-C or a gevent.Timeout may raise its exception at any line. The connection then
has an unread reply, or will have one, which redis-py's pool and pipelines do not exclude.
"""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any

import redis
from redis.commands import CoreCommands
from redis.exceptions import ResponseError

from celeriac.delivery.pending_reply import PendingReply
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
        pool: Any = self.connection_pool
        pool.connection_class = _closing(pool.connection_class)
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
        return self.begin_many(list(commands)).result()

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

    def begin_many(self, commands: Sequence[Sequence[Any]]) -> PendingReply[list[Any]]:
        """Send commands, without waiting for their replies. See `send`."""
        connection = self._borrow()
        try:
            packed = b"".join(connection.pack_commands(commands))
        except BaseException:
            self._release(connection)
            raise
        return self._sent(connection, packed, len(commands))

    def send(self, packed: bytes, answers: int) -> PendingReply[list[Any]]:
        """Send packed commands, without waiting for their replies.

        Their result must be read once, or the connection is lost. It raises as `execute_many` does;
        the error then has the replies that arrived before it as `answers`.
        """
        return self._sent(self._borrow(), packed, answers)

    def pipeline(self, transaction: bool = True) -> Any:  # type: ignore[override]
        """Return a pipeline, which is executed in one round trip."""
        return Pipeline(self, transaction=transaction)

    def parsed(self, answer: Any, args: Sequence[Any], options: Mapping[str, Any]) -> Any:
        """Return a raw reply as the methods of the command return it."""
        known = {name: value for name, value in options.items() if name != "keys"}  # of its cache
        callbacks: Any = self.response_callbacks  # it has no types
        parse = callbacks.get(args[0])
        return parse(answer, **known) if parse is not None else answer

    def _sent(self, connection: Connection, packed: bytes, answers: int) -> SentCommands:
        try:
            beyond = _send(connection, packed)
        except BaseException:
            self._drop(connection)
            raise
        return SentCommands(self, connection, answers, beyond)

    def _read(self, connection: Connection, answers: int, beyond: float) -> list[Any]:
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

    def _borrow(self) -> Connection:
        if self._process != os.getpid():
            # After a fork, the sockets belong to the parent.
            self._idle = []
            self._process = os.getpid()
        try:
            # Not `if`: another thread may take the last one at the same time.
            idle = self._idle.pop()
        except IndexError:
            idle = None
        if idle is None:
            # not in `except`, so that the traceback of a failed connection has no IndexError
            return connection_of(self.connection_pool)
        connection, since = idle
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


class Pipeline(CoreCommands):  # type: ignore[type-arg,unused-ignore]
    """Collects commands; `execute` returns their replies in order."""

    _event_dispatcher: Any = None  # required by redis-py of a class with commands

    def __init__(self, client: Any, *, transaction: bool) -> None:
        self._client = client
        self._transaction = transaction
        self._commands: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def execute_command(self, *args: Any, **options: Any) -> Pipeline:
        self._commands.append((args, options))
        return self

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Execute the commands in one round trip. Raises the first error, or returns errors too."""
        commands, self._commands = self._commands, []
        if not commands:
            return []
        words = [args for args, _ in commands]
        if self._transaction:
            [raw] = self._client.transact_many([words])
            if isinstance(raw, Exception):
                raise raw
        else:
            raw = self._client.execute_many(words)
        answers = []
        for (args, options), answer in zip(commands, raw, strict=True):
            if not isinstance(answer, Exception):
                answer = self._client.parsed(answer, args, options)
            elif raise_on_error:
                raise answer
            answers.append(answer)
        return answers

    def __len__(self) -> int:
        return len(self._commands)

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, *ignored: object) -> None:
        self._commands = []


class ClosesUnlessConnected:
    """A connection of redis-py that is closed if anything interrupts its login.

    Otherwise the pool keeps it, and the next command reads the replies to the login.
    """

    def connect(self) -> None:
        try:
            super().connect()  # type: ignore[misc]
        except BaseException:
            self.disconnect()  # type: ignore[attr-defined]
            raise


@cache
def _closing(connection_class: type) -> type:
    return type(connection_class.__name__, (ClosesUnlessConnected, connection_class), {})


class SentCommands:
    """Commands on a connection of their own, until their replies are read."""

    __slots__ = ("_answers", "_beyond", "_client", "_connection")

    def __init__(
        self, client: DirectClient, connection: Connection, answers: int, beyond: float
    ) -> None:
        self._client, self._connection = client, connection
        self._answers, self._beyond = answers, beyond

    def result(self) -> list[Any]:
        return self._client._read(self._connection, self._answers, self._beyond)


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
