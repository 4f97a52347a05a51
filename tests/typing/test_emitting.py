"""Typing of a user's emits and tests. Checked by mypy and pyright; it also runs."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, assert_type

from celeriac import Event, EventBus, emit, emit_many
from celeriac.testing import Captured, RunResult, capture, in_memory, make_event

bus = EventBus(service="billing")


@dataclass
class OrderPlaced:
    number: int


def test_emit_returns_the_id() -> None:
    with capture() as events:
        assert_type(events, Captured)
        assert_type(bus.emit("order.placed", OrderPlaced(1), delay=timedelta(hours=1)), str)
        assert_type(emit("order.placed", {"number": 1}, at=datetime(2100, 1, 1, tzinfo=UTC)), str)
        assert_type(bus.emit_many([("order.placed", 1), bus.event("order.paid")]), int)
        assert_type(emit_many([{"type": "order.placed", "data": 1}]), int)

        async def coroutine() -> None:
            assert_type(await bus.aemit("order.placed", OrderPlaced(1)), str)
            assert_type(await bus.aemit_many([("order.placed", 1)]), int)

        asyncio.run(coroutine())
        assert_type(events[0], Event[Any])
        assert_type(events.assert_emitted("order.placed"), Event[Any])
        assert_type(events.of("order.*"), Captured)


def test_a_made_event_is_typed_as_the_handler_gets_it() -> None:
    assert_type(make_event("order.placed", OrderPlaced(1)), Event[OrderPlaced])
    assert_type(make_event("order.placed", {"number": 1}, model=OrderPlaced), Event[OrderPlaced])
    assert_type(make_event("order.placed", {"number": 1}), Event[dict[str, int]])
    assert_type(make_event("order.placed"), Event[None])


def test_completing_returns_what_happened() -> None:
    with in_memory(bus) as memory:
        assert_type(memory.run_until_idle(), RunResult)
        assert_type(memory.run_until_idle(shuffle=1).processed, int)
