"""A process whose event is cancelled at each place where its inbox waits."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import create_async_engine

from celeriac import EventBus
from celeriac.event import decode, encode
from tests.unit.cancelled import cancel_at_each_wait
from tests.unit.process.conftest import table
from tests.unit.process.shop import fulfilment
from tests.unit.server_connections import until_transactions_end


# Not SQLite: a cancelled aiosqlite keeps its transaction until its connection is collected.
@pytest.mark.parametrize("database_url", ["postgresql", "mysql"], indirect=True)
def test_state_timer_step_record_and_events_are_committed_together_or_not(
    bus: EventBus, engine: Engine, async_database_url: str
) -> None:
    async_engine = create_async_engine(async_database_url)
    bus.process(fulfilment(async_engine))
    receiver = bus.service.handlers["billing.fulfilment"].receiver
    assert receiver is not None
    number = 0

    async def receive() -> None:
        event = bus.event("order.placed", {"cents": 1}, id=f"e{number}", subject=f"order-{number}")
        await receiver(decode(encode(event)))

    async def check(is_cancelled: bool) -> None:
        nonlocal number
        await until_transactions_end(engine, async_engine)
        stored = [
            len(table(engine, columns, name))
            for columns, name in (
                ("handler", "celeriac_process"), ("handler", "celeriac_timer"),
                ("seq", "celeriac_process_step"), ("event_key", "celeriac_inbox"),
                ("id", "celeriac_outbox"),
            )
        ]  # fmt: skip
        assert stored == [stored[0]] * 5
        pool: Any = async_engine.pool
        assert 0 == pool.checkedout()
        assert stored[0] == number + 1 or (is_cancelled and stored[0] == number)
        number = stored[0]

    async def main() -> int:
        cancelled = await cancel_at_each_wait(receive, check)
        await async_engine.dispose()
        return cancelled

    assert asyncio.run(main()) > 3
