"""The inbox through SQLAlchemy's asyncio extension, with coroutine handlers."""

from __future__ import annotations

import asyncio
import time

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.pool import NullPool

from celeriac import Event, EventBus, SubscriptionError
from celeriac.event import build_event, event_key
from celeriac.inbox import IdempotentReceiver, as_inbox, current_session, statement
from celeriac.testing import in_memory
from tests.unit.inbox.conftest import effects, noted

EFFECT = text("INSERT INTO effect VALUES (:id)")


@pytest.fixture
def sessions(engine: Engine, async_database_url: str) -> async_sessionmaker[AsyncSession]:
    return async_sessionmaker(create_async_engine(async_database_url, poolclass=NullPool))


def test_a_repeated_delivery_is_processed_without_a_run(
    bus: EventBus, engine: Engine, sessions: async_sessionmaker[AsyncSession]
) -> None:
    @bus.on("order.placed", inbox=sessions)
    async def charge(event: Event, session: AsyncSession) -> None:
        assert current_session() is session
        await session.execute(EFFECT, {"id": event.id})

    with in_memory(bus) as memory:
        bus.emit("order.placed", id="a")
        memory.crash_before_ack()
        memory.run_until_idle()
        memory.redeliver_all()
        assert memory.run_until_idle().processed == 1
        memory.assert_no_dead()
    assert effects(engine) == {"a": 1}


def test_a_coroutine_that_raises_leaves_nothing(
    bus: EventBus, engine: Engine, sessions: async_sessionmaker[AsyncSession]
) -> None:
    @bus.on("order.placed", inbox=sessions.kw["bind"], batch=5, retries=0)
    async def store(events: list[Event]) -> None:
        await current_session().execute(EFFECT, [{"id": event.id} for event in events])
        raise ValueError

    with in_memory(bus) as memory:
        bus.emit("order.placed", id="a")
        assert memory.run_until_idle().dead == 1
    assert (effects(engine), noted(engine)) == ({}, [])


def test_a_cancelled_coroutine_leaves_nothing(
    engine: Engine, sessions: async_sessionmaker[AsyncSession]
) -> None:
    executed = asyncio.Event()

    async def charge(event: Event, session: AsyncSession) -> None:
        await session.execute(EFFECT, {"id": event.id})
        executed.set()
        await asyncio.sleep(60)

    receiver = IdempotentReceiver(
        "b.charge", charge, True, as_inbox(sessions), keep_ms=lambda: 60_000
    )

    async def main() -> None:
        task = asyncio.ensure_future(receiver(build_event("order.placed", source="t", data=1)))
        await asyncio.wait_for(executed.wait(), 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert (effects(engine), noted(engine)) == ({}, [])


def test_a_plain_function_needs_a_factory_that_blocks(
    bus: EventBus, sessions: async_sessionmaker[AsyncSession]
) -> None:
    with pytest.raises(SubscriptionError, match="async def"):

        @bus.on("order.placed", inbox=sessions)
        def h(event: Event) -> None: ...


def test_old_rows_go_in_bounded_steps(
    engine: Engine, sessions: async_sessionmaker[AsyncSession], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statement, "PRUNE_ROWS", 10)
    monkeypatch.setattr(statement, "PRUNE_AGAIN", 0.0)
    now = int(time.time() * 1000)
    row = text(
        "INSERT INTO celeriac_inbox (event_key, handler, domain, at_ms) "
        "VALUES (:id, 'b.charge', 'order', :at)"
    )
    with engine.begin() as connection:
        connection.execute(
            row, [{"id": event_key(f"old{n}", ""), "at": now - 99_000 + n} for n in range(15)]
        )

    async def charge(event: Event) -> None:
        return None

    receiver = IdempotentReceiver(
        "b.charge", charge, False, as_inbox(sessions), keep_ms=lambda: 50_000
    )

    async def receive() -> list[int]:
        left = []
        for n in range(3):
            await receiver(build_event("order.placed", None, source="test", id=f"new{n}"))
            left.append(sum(id.startswith("old") for id, _, _ in noted(engine)))
        return left

    assert [4, 0, 0] == asyncio.run(receive())


def test_what_cannot_be_pruned_harms_no_delivery(
    engine: Engine,
    sessions: async_sessionmaker[AsyncSession],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(statement, "PRUNE", "DELETE FROM nowhere WHERE at_ms <= :up_to")

    async def charge(event: Event) -> None:
        return None

    receiver = IdempotentReceiver(
        "b.charge", charge, False, as_inbox(sessions), keep_ms=lambda: 50_000
    )

    async def receive() -> None:
        await receiver(build_event("order.placed", None, source="test", id="a"))

    asyncio.run(receive())
    assert len(noted(engine)) == 1
    assert "were not deleted" in caplog.text
