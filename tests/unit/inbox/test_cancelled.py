"""A coroutine handler that is cancelled at each place where it or its inbox waits."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from celeriac import Emit, Event, EventBus
from celeriac.inbox import current_session
from celeriac.outbox import create_outbox
from tests.unit.cancelled import cancel_at_each_wait
from tests.unit.inbox.conftest import effects, noted
from tests.unit.server_connections import until_transactions_end

EFFECT = text("INSERT INTO effect VALUES (:id)")


# Not SQLite: a cancelled aiosqlite keeps its transaction until its connection is collected.
@pytest.mark.parametrize("database_url", ["postgresql", "mysql"], indirect=True)
def test_the_effect_the_record_and_the_returned_event_are_committed_together_or_not(
    bus: EventBus, engine: Engine, async_database_url: str
) -> None:
    create_outbox(engine)
    async_engine = create_async_engine(async_database_url)

    @bus.on("order.placed", inbox=async_sessionmaker(async_engine))
    async def charge(event: Event, session: AsyncSession) -> Emit:
        await session.execute(EFFECT, {"id": event.id})
        assert current_session() is session
        return Emit("order.paid", {"of": event.id})

    receiver = bus.service.handlers["billing.charge"].receiver
    assert receiver is not None
    number, runs = 0, 0

    async def receive() -> None:
        nonlocal runs
        runs += 1
        await receiver(bus.event("order.placed", id=f"e{number}"))

    async def check(is_cancelled: bool) -> None:
        nonlocal number
        await until_transactions_end(engine, async_engine)
        done = effects(engine)
        assert {*done} == {id for id, _, _ in noted(engine)} and {*done.values()} <= {1}
        with engine.begin() as connection:
            returned = connection.execute(text("SELECT COUNT(*) FROM celeriac_outbox")).scalar()
        assert len(done) == returned
        pool: Any = async_engine.pool
        assert 0 == pool.checkedout()
        if f"e{number}" in done:
            # It is delivered again, and does nothing.
            await receive()
            assert done == effects(engine)
            number += 1
        else:
            assert is_cancelled

    async def main() -> int:
        cancelled = await cancel_at_each_wait(receive, check)
        await async_engine.dispose()
        return cancelled

    assert asyncio.run(main()) > 3
    assert number >= 1
