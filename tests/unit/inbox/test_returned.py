"""Events that a handler with an inbox returns are written in its transaction, to the outbox."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import NullPool

from celeriac import Emit, Event, EventBus, InvalidEvent, Reply
from celeriac.event import HandlingContext, build_event
from celeriac.executor.call import call
from celeriac.outbox import create_outbox
from celeriac.reply.store import START
from celeriac.store.memory.replies import MemoryReplies
from tests.unit.inbox.conftest import effects, noted

EFFECT = text("INSERT INTO effect VALUES (:id)")
EVENT: Event[Any] = build_event("order.placed", None, source="t", id="a")
HANDLER = "billing.charge"


def written(engine: Engine) -> list[str]:
    """The types of the events in the outbox."""
    with engine.begin() as connection:
        bodies = connection.execute(text("SELECT body FROM celeriac_outbox ORDER BY 1")).scalars()
        return sorted(msgspec.json.decode(body)["type"] for body in bodies)


def receive(bus: EventBus) -> Any:
    receiver = bus.service.handlers[HANDLER].receiver
    assert receiver is not None
    with HandlingContext(EVENT, 1, HANDLER):
        return receiver(EVENT)


def test_they_are_committed_with_its_effects(bus: EventBus, engine: Engine) -> None:
    create_outbox(engine)

    @bus.on("order.placed", inbox=sessionmaker(engine))
    def charge(event: Event, session: Session) -> Iterator[Emit]:
        session.execute(EFFECT, {"id": event.id})
        yield Emit("order.paid")
        yield Emit("order.reminded", delay=60)

    for _ in range(2):
        receive(bus)
    assert effects(engine) == {"a": 1}
    assert written(engine) == ["order.paid", "order.reminded"]


def test_an_event_that_cannot_be_written_rolls_it_back(bus: EventBus, engine: Engine) -> None:
    create_outbox(engine)

    @bus.on("order.placed", inbox=engine)
    def charge(event: Event, connection: Any) -> list[Emit]:
        connection.execute(EFFECT, {"id": event.id})
        return [Emit("order.paid"), Emit("")]

    with pytest.raises(InvalidEvent):
        receive(bus)
    assert (effects(engine), noted(engine), written(engine)) == ({}, [], [])


@pytest.mark.parametrize("is_generator", [False, True])
def test_those_of_a_coroutine_function_too(
    bus: EventBus, engine: Engine, async_database_url: str, is_generator: bool
) -> None:
    create_outbox(engine)
    sessions = async_sessionmaker(create_async_engine(async_database_url, poolclass=NullPool))

    async def charge(event: Event, session: AsyncSession) -> list[Emit]:
        await session.execute(EFFECT, {"id": event.id})
        return [Emit("order.paid"), Emit("order.reminded", delay=60)]

    async def charge_lazily(event: Event, session: AsyncSession) -> AsyncIterator[Emit]:
        for one in await charge(event, session):
            yield one

    function = charge_lazily if is_generator else charge
    bus.on("order.placed", name="charge", inbox=sessions)(function)
    for _ in range(2):
        asyncio.run(receive(bus))
    assert effects(engine) == {"a": 1}
    assert written(engine) == ["order.paid", "order.reminded"]


@pytest.mark.parametrize("is_async", [False, True])
def test_a_reply_is_sent_after_the_commit_and_not_without_it(
    bus: EventBus, engine: Engine, async_database_url: str, is_async: bool
) -> None:
    create_outbox(engine)
    replies = MemoryReplies()
    bus.service.backend = dataclasses.replace(bus.service.backend, replies=replies)
    replies.open("m1", "price.asked", 60_000)
    request = build_event("price.asked", None, source="t", id="a", extensions={"replyto": "m1"})
    fails = [True, False]
    sessions: Any = sessionmaker(engine)
    if is_async:
        sessions = async_sessionmaker(create_async_engine(async_database_url, poolclass=NullPool))

    def quote(event: Event) -> list[Any]:
        return [Reply("100"), Emit("" if fails.pop(0) else "price.quoted")]

    async def aquote(event: Event) -> list[Any]:
        return quote(event)

    bus.on("price.asked", name="charge", inbox=sessions)(aquote if is_async else quote)
    handler = bus.service.handlers[HANDLER]
    with pytest.raises(InvalidEvent), HandlingContext(request, 1, HANDLER):
        call(handler, request)
    assert replies.close("m1", START) == []
    replies.open("m1", "price.asked", 60_000)
    for attempt in (2, 3):
        with HandlingContext(request, attempt, HANDLER):
            call(handler, request)
    [body] = replies.close("m1", START)
    assert msgspec.json.decode(body)["data"] == "100"
    assert written(engine) == ["price.asked.replied", "price.quoted"]
