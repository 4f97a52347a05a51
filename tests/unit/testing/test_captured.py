"""Captured events: the arguments of assertions, and their messages."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from unittest.mock import ANY

import pytest

from celeriac import EventBus, EventTooLarge, InvalidEvent, emit, set_default_bus
from celeriac.testing import Captured, capture


@dataclass
class Order:
    number: int
    at: datetime


AT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def bus() -> EventBus:
    return EventBus(service="shop")


def test_every_bus_of_the_process_is_captured(bus: EventBus) -> None:
    set_default_bus(None)
    with capture() as events:
        bus.emit("order.placed")
        EventBus(service="another").emit("order.paid")
        emit("order.sent")
        asyncio.run(bus.aemit("order.returned"))
        bus.emit_many([("payment.captured", 1), ("payment.failed", 2)])
    assert ["order.placed", "order.paid", "order.sent", "order.returned"] == events.of(
        "order.*"
    ).types
    assert [1, 2] == [event.data for event in events.of("payment.*")]
    assert (6, "order.placed", 2) == (len(events), events[0].type, len(events[1:3]))
    set_default_bus(None)


def test_no_handler_runs(bus: EventBus) -> None:
    ran: list[str] = []
    bus.on("#", name="handle")(lambda event: ran.append(event.id))
    with capture():
        bus.emit("order.placed")
    assert [] == ran


def test_what_emit_refuses_is_refused_here_too(bus: EventBus) -> None:
    with capture() as events:
        with pytest.raises(InvalidEvent):
            bus.emit("order..placed")
        with pytest.raises(EventTooLarge):
            bus.emit("order.placed", "x" * 2_000_000)
    assert 0 == len(events)


def test_captures_nest(bus: EventBus) -> None:
    with capture() as outer:
        bus.emit("a.outer")
        with capture() as inner:
            bus.emit("a.inner")
        bus.emit("a.outer")
    assert (["a.outer", "a.outer"], ["a.inner"]) == (outer.types, inner.types)


def captured(bus: EventBus) -> Captured:
    with capture() as events:
        bus.emit("order.placed", {"n": 1}, id="a", subject="order/1")
        bus.emit("order.placed", {"n": 2}, id="b", subject="order/2", delay=60)
        bus.emit("order.dated", Order(3, AT))
    return events


def test_an_event_is_found_by_all_that_is_given(bus: EventBus) -> None:
    events = captured(bus)
    assert "a" == events.assert_emitted("order.placed").id
    assert "b" == events.assert_emitted("order.placed", {"n": 2}).id
    assert "b" == events.assert_emitted("order.placed", subject="order/2", delay=60).id
    assert "b" == events.assert_emitted("order.placed", {"n": ANY}, where=lambda e: e.id == "b").id
    events.assert_emitted("order.placed", times=2)
    events.assert_emitted("order.dated", Order(3, AT))
    events.assert_emitted("order.dated", {"number": 3, "at": "2026-01-01T00:00:00Z"})
    events.assert_emitted("order.dated", {"number": 3, "at": AT})


def test_a_failure_shows_what_was_emitted_instead(bus: EventBus) -> None:
    with pytest.raises(AssertionError) as caught:
        captured(bus).assert_emitted("order.placed", {"n": 7}, subject="order/1")
    assert str(caught.value) == (
        "order.placed with subject='order/1', data={'n': 7} was not emitted; the emitted events "
        "are:\n  order.placed subject='order/1' data={'n': 1}\n"
        "  order.placed subject='order/2' delay=60 data={'n': 2}\n"
        "  order.dated data={'number': 3, 'at': '2026-01-01T00:00:00Z'}"
    )


def test_a_wrong_count_is_in_the_error(bus: EventBus) -> None:
    with pytest.raises(AssertionError, match=r"order\.placed was emitted 2 times, not once"):
        captured(bus).assert_emitted("order.placed", times=1)


def test_the_absence_of_events_is_in_the_error(bus: EventBus) -> None:
    with capture() as events:
        pass
    with pytest.raises(AssertionError, match="was not emitted; nothing was emitted"):
        events.assert_emitted("order.placed")
    events.assert_not_emitted()


def test_a_long_list_is_cut(bus: EventBus) -> None:
    with capture() as events:
        bus.emit_many([("order.placed", n) for n in range(50)])
    with pytest.raises(AssertionError, match="… and 30 more"):
        events.assert_emitted("order.paid")


def test_what_should_not_have_been_emitted_is_shown(bus: EventBus) -> None:
    events = captured(bus)
    events.assert_not_emitted("payment.*", "order.paid")
    events.assert_not_emitted("order.placed", data={"n": 9})
    with pytest.raises(AssertionError, match=r"order\.# was emitted 3 times:\n  order.placed"):
        events.assert_not_emitted("order.#")
    with pytest.raises(
        AssertionError, match=r"order\.placed with subject='order/2' was emitted once"
    ):
        events.assert_not_emitted("order.placed", subject="order/2")


def test_after_clear_it_is_empty(bus: EventBus) -> None:
    with capture() as events:
        bus.emit("order.placed")
        events.clear()
        bus.emit("order.paid")
    assert ["order.paid"] == events.types
    assert "Captured(order.paid)" == repr(events)
