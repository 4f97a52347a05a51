"""A client for asyncio that appends on one connection, shared by all coroutines of its loop."""

from __future__ import annotations

import asyncio
from copy import copy
from typing import Any

import redis.asyncio

from celeriac.store.redis.cancelled_sending import notice_cancellation
from celeriac.store.redis.pipelined_connection import Answer, PipelinedConnection
from celeriac.store.redis.redis_py import release_writer


class AsyncDirectClient(redis.asyncio.Redis):
    """redis.asyncio.Redis with an additional `send`. Retries nothing."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        notice_cancellation(self.connection_pool)
        self._pipelined: PipelinedConnection | None = None
        self._opening: asyncio.Task[PipelinedConnection] | None = None
        self._master: Any = None  # the server of the connection, with Sentinels

    async def send(self, packed: bytes, answers: int) -> list[Answer]:
        """Send packed commands and return their raw replies; a refused one's is its ResponseError.

        Commands of concurrent callers share round trips. Raises redis.RedisError if the connection
        breaks, with the replies that arrived before as `answers`.
        """
        connection = self._pipelined
        if connection is None or not connection.usable or self._is_elsewhere():
            connection = await self._open()
        return await connection.send(packed, answers)

    def _is_elsewhere(self) -> bool:
        pool: Any = self.connection_pool
        return bool(getattr(pool, "master_address", None) != self._master)

    async def _open(self) -> PipelinedConnection:
        """Return the connection. Concurrent callers wait for the same attempt to connect."""
        opening = self._opening
        if opening is None:
            opening = self._opening = asyncio.ensure_future(self._connect())
            opening.add_done_callback(self._opened)
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if opening.cancelled() and task is not None and not task.cancelling():
                # `aclose` cancelled the attempt to connect, not the caller.
                raise redis.ConnectionError("the client was closed") from None
            raise
        except redis.RedisError as error:
            # A copy for each caller: callers record on the error how many events were appended.
            copied = copy(error)
            copied.__cause__ = error.__cause__ or error.__context__
            raise copied from copied.__cause__

    def _opened(self, opening: asyncio.Task[PipelinedConnection]) -> None:
        self._opening = None
        if not opening.cancelled():
            opening.exception()  # marks it as retrieved, even if all waiting callers were cancelled

    async def _connect(self) -> PipelinedConnection:
        pool: Any = self.connection_pool
        connection = pool.make_connection()
        await connection.connect()
        pipelined = PipelinedConnection(asyncio.get_running_loop(), connection.socket_timeout)
        pipelined.take_over(release_writer(connection))
        if self._pipelined is not None:
            self._pipelined.retire()
        self._pipelined = pipelined
        self._master = getattr(pool, "master_address", None)
        return pipelined

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        if self._opening is not None:
            self._opening.cancel()
        if self._pipelined is not None:
            self._pipelined.close()
            self._pipelined = None
        await super().aclose(close_connection_pool)
