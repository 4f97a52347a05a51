"""Keys of subjects through SQLAlchemy's asyncio extension, for callers that block."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncEngine

from celeriac.fork import leave_to_parent
from celeriac.loop_thread import LoopThread
from celeriac.sql_engine import engines_of
from celeriac.subject_keys.rows import Execute
from celeriac.subject_keys.sql import SqlTransactions, executing

T = TypeVar("T")


class AsyncSqlTransactions(SqlTransactions):
    """Implements Transactions with the settings of an AsyncEngine.

    The connections of the engine belong to the application's event loop. So this one has a pool of
    its own, with the same options and pool events, in a loop of its own.
    """

    def __init__(self, engine: Any) -> None:
        [given] = engines_of(engine)
        copy = Engine(given.pool.recreate(), given.dialect, given.url)
        super().__init__(AsyncEngine(copy))
        self._loop, self._process = self._new_loop(), os.getpid()

    def run(self, work: Callable[[Execute], T]) -> T:
        async def transact() -> T:
            async with self._engine.begin() as connection:
                result: T = await connection.run_sync(lambda each: work(executing(each)))
                return result

        if self._process != os.getpid():
            # The thread is the parent's.
            leave_to_parent(self._loop)
            self._loop, self._process = self._new_loop(), os.getpid()
        return self._loop.run(transact())

    def _new_loop(self) -> LoopThread:
        return LoopThread("celeriac-subject-keys", self._engine.dispose)
