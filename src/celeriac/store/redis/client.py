"""A client of Redis that keeps its connections at hand.

redis-py's own client spends twice as long around a command (the pool's lock and poll, retries, two
records for its metrics) as on packing it and on parsing the answer: measured in docs/adr/0008.
Everything here stands on public methods: `connection_pool.get_connection`, and of a connection
`send_command`, `pack_commands`, `send_packed_command`, `read_response`, `can_read`, `disconnect`.
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

# Rested longer, a connection is asked first whether the server closed it meanwhile.
FRESH = 0.05  # seconds

Connection = Any  # redis-py has no one type for what its pools give


class DirectClient(redis.Redis):
    """As redis.Redis, for threads and over forks, but that it tries nothing a second time.

    A connection is one command's at a time. One on which something failed half-way is closed.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # Forgotten in a circle of references, the sockets would go before the one that closes them.
        weakref.finalize(self, self.connection_pool.disconnect).atexit = False
        self._resting: list[tuple[Connection, float]] = []
        self._process = os.getpid()

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """One command, one round trip. Raises redis.RedisError."""
        connection = self._borrow()
        parse: Any = self.parse_response  # it has no types
        try:
            packed = connection.pack_command(*args)
            if len(packed) == 1:
                connection.send_packed_command(packed)
            else:  # redis-py packs what is large in several pieces
                _await_answer(connection, _send(connection, b"".join(packed)))
            answer = parse(connection, args[0], **options)
        except ResponseError as error:
            self._return(connection, demoted=is_demotion(error))
            raise
        except BaseException:
            self._drop(connection)
            raise
        self._give_back(connection)
        return answer

    def execute_many(self, commands: Iterable[Sequence[Any]]) -> list[Any]:
        """The raw answers of all, in one round trip; a refused one's is its ResponseError."""
        return self.begin_many(list(commands))()

    def transact_many(
        self, transactions: Sequence[Sequence[Sequence[Any]]]
    ) -> list[list[Any] | Exception]:
        """The raw answers of each transaction (MULTI), all of them in one round trip.

        An error in the place of the answers says that nothing of that transaction was carried out.
        """
        commands = [command for one in transactions for command in (("MULTI",), *one, ("EXEC",))]
        answers = self.execute_many(commands) if commands else []
        found: list[list[Any] | Exception] = []
        for one in transactions:
            _, *queued, executed = answers[: len(one) + 2]
            del answers[: len(one) + 2]
            refused = (answer for answer in queued if isinstance(answer, Exception))
            found.append(next(refused, executed))
        return found

    def begin_many(self, commands: Sequence[Sequence[Any]]) -> Callable[[], list[Any]]:
        """Sends them; the function returned waits for their answers, as that of `send` does."""
        connection = self._borrow()
        try:
            packed = b"".join(connection.pack_commands(commands))
        except BaseException:
            self._give_back(connection)
            raise
        return self._sent(connection, packed, len(commands))

    def send(self, packed: bytes, answers: int) -> Callable[[], list[Any]]:
        """Sends packed commands; the function returned waits for their answers and reads them.

        It must be called once, or the connection is lost. Raises as `execute_many` does; the error
        then has the answers that came before it as `answers`.
        """
        return self._sent(self._borrow(), packed, answers)

    def pipeline(self, *args: Any, **options: Any) -> Any:
        """redis-py's own. It asks the pool for a connection, which may be out of them."""
        while self._resting:
            self.connection_pool.release(self._resting.pop()[0])
        return super().pipeline(*args, **options)

    def _sent(self, connection: Connection, packed: bytes, answers: int) -> Callable[[], list[Any]]:
        try:
            beyond = _send(connection, packed)
        except BaseException:
            self._drop(connection)
            raise

        def read() -> list[Any]:
            found: list[Any] = []
            try:
                for _ in range(answers):
                    if beyond:
                        _await_answer(connection, beyond)
                    try:
                        found.append(connection.read_response())
                    except ResponseError as error:
                        found.append(error)
            except BaseException as error:
                error.answers = found  # type: ignore[attr-defined]
                self._drop(connection)
                raise
            demoted = any(isinstance(one, ResponseError) and is_demotion(one) for one in found)
            self._return(connection, demoted=demoted)
            return found

        return read

    def _borrow(self) -> Connection:
        if self._process != os.getpid():
            # The sockets are the parent's.
            self._resting = []
            self._process = os.getpid()
        try:
            # Not `if`: another thread may take the last one in between.
            connection, since = self._resting.pop()
        except IndexError:
            return connection_of(self.connection_pool)
        if time.monotonic() - since > FRESH and _is_spoilt(connection):
            connection.disconnect()
        return connection

    def _return(self, connection: Connection, *, demoted: bool) -> None:
        """Gives it back; closes all that rest where the server became a replica.

        A demoted master keeps its connections. A new one goes to what the address names now.
        """
        if not demoted:
            self._give_back(connection)
            return
        self._drop_resting()
        self._drop(connection)

    def _drop_resting(self) -> None:
        doomed = []
        while self._resting:
            with suppress(IndexError):  # another thread took the last one
                doomed.append(self._resting.pop()[0])
        for one in doomed:
            self._drop(one)

    def _give_back(self, connection: Connection) -> None:
        self._resting.append((connection, time.monotonic()))

    def _drop(self, connection: Connection) -> None:
        # It connects anew when it is used again.
        connection.disconnect()
        self._give_back(connection)


def _send(connection: Connection, packed: bytes) -> float:
    """Sends it; returns the seconds that its answers may take beyond the usual."""
    connection.send_packed_command(slices(packed))
    return transfer_time(len(packed))


def _await_answer(connection: Connection, beyond: float) -> None:
    """Waits until something is there to read. Raises redis.TimeoutError."""
    if beyond and not connection.can_read(timeout=(connection.socket_timeout or 0) + beyond):
        raise redis.TimeoutError("Timeout reading from socket")


def _is_spoilt(connection: Connection) -> bool:
    """Whether the server closed it, or sent what nobody asked for."""
    try:
        return bool(connection.can_read())
    except (redis.ConnectionError, redis.TimeoutError, OSError):
        return True
