"""Cancelling a delayed event that still waits in an outbox, in a transaction."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from celeriac import ConfigurationError, EventBus, InvalidEvent
from celeriac.outbox.relay import Relay
from celeriac.outbox.status import status
from celeriac.testing import in_memory
from tests.unit.outbox.conftest import left, published

AT = datetime(2100, 1, 1, tzinfo=UTC)
TYPE = "order.reminded"


def delayed(live: EventBus) -> int:
    return live.service.backend.event_log.delayed("order")


def async_session(url: str) -> AsyncSession:
    return AsyncSession(create_async_engine(url, poolclass=NullPool))


def test_the_relay_cancels_what_it_published_before(
    engine: Engine, live: EventBus, relay: Relay
) -> None:
    with Session(engine) as session, session.begin():
        first = live.emit(TYPE, at=AT, session=session)
        live.emit(TYPE, at=AT, session=session)
        live.emit("order.placed", id="placed", session=session)
    with Session(engine) as session, session.begin():
        assert live.cancel(first, type=TYPE, session=session)
    assert len(left(engine)) == 4
    assert relay.drain() == 4
    assert (left(engine), delayed(live), published(live)) == ([], 1, ["placed"])


def test_an_event_that_is_in_redis_already_is_cancelled_too(
    engine: Engine, live: EventBus, relay: Relay
) -> None:
    with Session(engine) as session, session.begin():
        given = live.emit(TYPE, at=AT, id="given", source="till", session=session)
    relay.drain()
    assert delayed(live) == 1
    with Session(engine) as session, session.begin():
        live.cancel(given, type=TYPE, session=session)  # of another source
        live.cancel(given, type=TYPE, source="till", session=session)
    relay.drain()
    assert (left(engine), delayed(live)) == ([], 0)


def test_after_a_rollback_the_event_stays(engine: Engine, live: EventBus, relay: Relay) -> None:
    with Session(engine) as session, session.begin():
        id = live.emit(TYPE, at=AT, session=session)
    with Session(engine) as session:
        live.cancel(id, type=TYPE, session=session)
        session.rollback()
    relay.drain()
    assert delayed(live) == 1


def test_a_published_event_stays_published(engine: Engine, live: EventBus, relay: Relay) -> None:
    with Session(engine) as session, session.begin():
        live.emit("order.placed", id="now", session=session)
        assert live.cancel("now", type="order.placed", session=session)
    relay.drain()
    assert (published(live), left(engine)) == (["now"], [])


def test_a_relay_that_dies_before_its_commit_does_both_again(
    engine: Engine, live: EventBus, relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    from celeriac.outbox import relay as module

    with Session(engine) as session, session.begin():
        id = live.emit(TYPE, at=AT, session=session)
        live.cancel(id, type=TYPE, session=session)

    def die(*_: object) -> None:
        raise ConnectionError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(module, "_complete_rows", die)
        with pytest.raises(ConnectionError):
            relay.run_pass()
    assert (len(left(engine)), delayed(live)) == (2, 0)
    relay.drain()
    assert (left(engine), delayed(live)) == ([], 0)


def test_while_the_log_of_the_domain_is_full_both_wait(
    engine: Engine, live: EventBus, relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the event would be published after its cancel."""
    from celeriac import LogFull

    with Session(engine) as session, session.begin():
        id = live.emit(TYPE, at=AT, session=session)
        live.cancel(id, type=TYPE, session=session)
        live.cancel("other", type="payment.due", session=session)

    def full(*_: object, **__: object) -> None:
        raise LogFull("full")

    event_log = live.service.backend.event_log
    with monkeypatch.context() as patch:
        patch.setattr(event_log, "append_delayed", full)
        relay.run_pass()
    assert left(engine) == [id, id]
    relay._full.clear()
    relay.drain()
    assert (left(engine), delayed(live)) == ([], 0)


def test_the_type_is_required_in_a_transaction(engine: Engine, live: EventBus) -> None:
    with Session(engine) as session:
        with pytest.raises(InvalidEvent, match="type is missing"):
            live.cancel("id", session=session)
        with pytest.raises(InvalidEvent):
            live.cancel("id", type="order reminded", session=session)
    assert left(engine) == []


def test_a_coroutine_cancels_in_its_session(
    engine: Engine, live: EventBus, relay: Relay, async_database_url: str
) -> None:
    async def emit_and_cancel() -> bool:
        async with async_session(async_database_url) as session, session.begin():
            id = await live.aemit(TYPE, at=AT, session=session)
            return await live.acancel(id, type=TYPE, session=session)

    assert asyncio.run(emit_and_cancel())
    assert len(left(engine)) == 2
    relay.drain()
    assert (left(engine), delayed(live)) == ([], 0)


def test_after_a_rollback_of_a_coroutine_the_event_stays(
    engine: Engine, live: EventBus, relay: Relay, async_database_url: str
) -> None:
    async def emit_then_fail_to_cancel() -> None:
        async with async_session(async_database_url) as session, session.begin():
            id = await live.aemit(TYPE, at=AT, session=session)
        async with async_session(async_database_url) as session:
            assert await live.acancel(id, type=TYPE, session=session)
            await session.rollback()

    asyncio.run(emit_then_fail_to_cancel())
    assert relay.drain() == 1
    assert (left(engine), delayed(live)) == ([], 1)


def test_using_is_refused_with_a_session_and_without_django(engine: Engine, live: EventBus) -> None:
    with Session(engine) as session:
        with pytest.raises(ConfigurationError, match="exclude each other"):
            live.cancel("id", type=TYPE, session=session, using="default")
        with pytest.raises(ConfigurationError, match="INSTALLED_APPS"):
            live.cancel("id", type=TYPE, using="default")


def test_in_memory_it_is_cancelled_at_once(bus: EventBus, engine: Engine) -> None:
    with in_memory(bus), Session(engine) as session:
        id = bus.emit(TYPE, at=AT, session=session)
        assert bus.cancel(id, type=TYPE, session=session)
        assert not bus.cancel(id, type=TYPE, session=session)


def test_rows_that_cancel_are_counted_as_waiting(
    engine: Engine, live: EventBus, relay: Relay
) -> None:
    with Session(engine) as session, session.begin():
        live.cancel("id", type=TYPE, session=session)
    assert status(relay.database).waiting == 1
