"""An emit that is cancelled or interrupted: middleware and the caller get to know how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import redis

from celeriac import Event, EventBus, Middleware
from celeriac.emitter import emitter
from tests.unit.store.redis.test_cancelled_sending import STEPS, is_cancelled_at


class Interrupted(BaseException):
    """As a signal handler raises it."""


class Ends(Middleware):
    """Records each event that an emit began with, and its ends."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.appended: list[str] = []
        self.failed: list[str] = []

    def before_emit(self, event: Event[Any]) -> Event[Any]:
        self.begun.append(event.id)
        return event

    def after_emit(self, event: Event[Any]) -> None:
        self.appended.append(event.id)

    def emit_failed(self, event: Event[Any], error: BaseException) -> None:
        self.failed.append(event.id)


@pytest.fixture
def ends() -> Ends:
    return Ends()


@pytest.fixture
def bus(redis_url: str, namespace: str, ends: Ends, monkeypatch: pytest.MonkeyPatch) -> EventBus:
    monkeypatch.setattr(emitter, "PIPELINE", 3)
    monkeypatch.setattr("celeriac.emitter.async_emitter.PIPELINE", 3)
    return EventBus(service="shop", redis_url=redis_url, namespace=namespace, middleware=[ends])


def logged(bus: EventBus) -> int:
    with redis.Redis.from_url(bus.settings.redis_url) as client:
        return int(client.xlen(bus.service.backend.event_log.keys.events("order")))  # type: ignore


@pytest.mark.parametrize("connected", [True, False])
def test_each_event_of_a_cancelled_emit_has_one_end(
    bus: EventBus, ends: Ends, connected: bool
) -> None:
    async def emit_some() -> None:
        await bus.aemit("order.created")
        await bus.aemit_many(events())

    async def events() -> AsyncIterator[tuple[str, Any]]:
        for n in range(7):
            await asyncio.sleep(0)
            yield "order.paid", n

    async def main() -> None:
        for step in STEPS:
            if not connected:
                await bus.aclose()
            await is_cancelled_at(step, emit_some)
        await bus.aclose()

    asyncio.run(main())
    assert sorted(ends.appended + ends.failed) == sorted(ends.begun)
    # How many end with a reply depends on the machine. The first steps come before any reply.
    assert ends.failed
    assert len(ends.appended) <= logged(bus) <= len(ends.begun)


def interrupted_after(count: int) -> Iterator[tuple[str, Any]]:
    for n in range(count):
        yield "order.paid", n
    raise Interrupted


async def cancelled_after(count: int) -> AsyncIterator[tuple[str, Any]]:
    for n in range(count):
        yield "order.paid", n
    raise asyncio.CancelledError


@pytest.mark.parametrize("is_async", [False, True])
def test_an_interruption_states_how_many_were_emitted(
    bus: EventBus, ends: Ends, is_async: bool
) -> None:
    with pytest.raises((Interrupted, asyncio.CancelledError)) as interrupted:
        if is_async:
            asyncio.run(bus.aemit_many(cancelled_after(5)))
        else:
            bus.emit_many(interrupted_after(5))
    assert logged(bus) == 3
    assert (ends.appended, ends.failed) == (ends.begun[:3], ends.begun[3:])
    if not is_async:  # asyncio raises another CancelledError to those who wait for a task
        assert interrupted.value.emitted == 3  # type: ignore[attr-defined]


def test_an_interrupted_append_is_an_end(
    bus: EventBus, ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be appended, so the caller can emit it again with its id."""
    bus.emit("order.created")

    def interrupted(*_: Any) -> None:
        raise Interrupted

    monkeypatch.setattr(bus.service.backend.event_log, "append", interrupted)
    monkeypatch.setattr(bus.service.backend.event_log, "append_many", interrupted)
    with pytest.raises(Interrupted):
        bus.emit("order.paid")
    with pytest.raises(Interrupted):
        bus.emit_many([("order.paid", 1), ("order.paid", 2)])
    assert ends.failed == ends.begun[1:]
