"""The inbox for handlers that are coroutines, through SQLAlchemy's asyncio extension."""

from __future__ import annotations

import asyncio
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from celeriac.inbox import statement
from celeriac.inbox.receiver import Argument, IdempotentReceiver, keys_of, unseen
from celeriac.inbox.session import in_session
from celeriac.inbox.sql import note, prune


class AsyncSQLInbox:
    """As SQLInbox; nothing blocks the event loop."""

    is_async = True
    gives = "session"

    def __init__(self, factory: async_sessionmaker[AsyncSession] | AsyncEngine) -> None:
        self._factory = factory
        self._prune_times = statement.PruneSchedule()

    async def receive(self, receiver: IdempotentReceiver, argument: Argument) -> None:
        session: Any
        async with self._factory.begin() as session:
            noted = await session.run_sync(note, receiver.handler, keys_of(argument))
            left = unseen(argument, noted)
            if left is not None:
                with in_session(session):
                    await receiver.run(left, session)
        if self._prune_times.due():
            await self._prune(await asyncio.to_thread(receiver.keep_ms))

    async def _prune(self, keep_ms: int) -> None:
        session: Any
        try:
            async with self._factory.begin() as session:
                if await session.run_sync(prune, keep_ms):
                    self._prune_times.again_soon()
        except Exception as error:
            statement.not_pruned(error)
