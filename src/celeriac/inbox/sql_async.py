"""The inbox for coroutine handlers, through SQLAlchemy's asyncio extension."""

from __future__ import annotations

import asyncio
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from celeriac.inbox import statement
from celeriac.inbox.receiver import Argument, IdempotentReceiver, keys_of, unseen
from celeriac.inbox.session import in_session
from celeriac.inbox.sql import mark_processed, prune


class AsyncSQLInbox:
    """SQLInbox for coroutines: does not block the event loop."""

    is_async = True
    session_kind = "session"

    def __init__(self, factory: async_sessionmaker[AsyncSession] | AsyncEngine) -> None:
        self._factory = factory
        self._prune_schedule = statement.PruneSchedule()

    async def receive(self, receiver: IdempotentReceiver, argument: Argument) -> None:
        session: Any
        async with self._factory.begin() as session:
            new = await session.run_sync(mark_processed, receiver.handler, keys_of(argument))
            unprocessed = unseen(argument, new)
            if unprocessed is not None:
                with in_session(session):
                    await receiver.arun(unprocessed, session)
        if self._prune_schedule.due():
            await self._prune(await asyncio.to_thread(receiver.keep_ms))

    async def _prune(self, keep_ms: int) -> None:
        session: Any
        try:
            async with self._factory.begin() as session:
                if await session.run_sync(prune, keep_ms):
                    self._prune_schedule.expedite()
        except Exception as error:
            statement.log_prune_failure(error)
