"""A coroutine that is cancelled while it emits in its transaction, at each place where it waits."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from celeriac import EventBus
from tests.unit.cancelled import cancel_at_each_wait
from tests.unit.outbox.conftest import left
from tests.unit.server_connections import until_transactions_end

PURCHASE = text("INSERT INTO purchase VALUES (1)")


def purchases(engine: Engine) -> int:
    with engine.begin() as connection:
        return len(connection.execute(text("SELECT number FROM purchase")).all())


# Not SQLite: a cancelled aiosqlite keeps its transaction until its connection is collected.
@pytest.mark.parametrize("database_url", ["postgresql", "mysql"], indirect=True)
def test_events_and_the_work_of_the_transaction_are_committed_together_or_not(
    bus: EventBus, engine: Engine, async_database_url: str
) -> None:
    async_engine = create_async_engine(async_database_url)
    done = 0

    async def buy() -> None:
        async with AsyncSession(async_engine) as session, session.begin():
            await session.execute(PURCHASE)
            await bus.aemit("order.placed", session=session)

    async def check(is_cancelled: bool) -> None:
        nonlocal done
        await until_transactions_end(engine, async_engine)
        before, done = done, purchases(engine)
        assert len(left(engine)) == done
        # A commit can succeed although the one who waits for it is cancelled.
        assert done - before == 1 or (is_cancelled and done == before)
        pool: Any = async_engine.pool
        assert 0 == pool.checkedout()

    async def main() -> int:
        cancelled = await cancel_at_each_wait(buy, check)
        await async_engine.dispose()
        return cancelled

    assert asyncio.run(main()) > 3
