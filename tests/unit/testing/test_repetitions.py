"""Retried and copied events run once, on the whole path from emit to handler."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from celeriac import Event, EventBus
from celeriac.event import encode
from celeriac.event_log import EntryKind, time_ms
from celeriac.testing import MemoryBus, in_memory

MADE = EntryKind.MADE
ran: Counter[str] = Counter()


@pytest.fixture
def bus() -> EventBus:
    ran.clear()
    bus = EventBus(service="billing")

    @bus.on("order.placed")
    def charge(event: Event) -> None:
        ran[event.id] += 1

    return bus


@pytest.fixture
def memory(bus: EventBus) -> Iterator[MemoryBus]:
    with in_memory(bus) as memory:
        yield memory


def tried_event(bus: EventBus, n: int = 0) -> bytes:
    return encode(bus._event("order.placed", n))


@pytest.mark.parametrize("settled", [False, True], ids=["together", "one after the other"])
def test_an_event_that_was_tried_again_runs_once(
    bus: EventBus, memory: MemoryBus, settled: bool
) -> None:
    event_log = memory.store.event_log
    for late in (False, True):
        body, began = tried_event(bus), time_ms()
        for since in (began, 0) if late else (0, began):
            event_log.append("order", body, MADE, since)
            if settled:
                memory.run_until_idle()
    memory.run_until_idle()
    assert 4 == event_log.length("order")
    assert [1, 1] == [*ran.values()]


def test_an_event_of_emit_that_is_emitted_again_runs_once(bus: EventBus, memory: MemoryBus) -> None:
    id = bus.emit("order.placed")
    memory.run_until_idle()
    bus.emit("order.placed", id=id)
    bus.emit_many([bus.event("order.placed", id=id)])
    memory.run_until_idle()
    assert {id: 1} == ran


def test_an_event_that_was_appended_and_delayed_runs_once(bus: EventBus, memory: MemoryBus) -> None:
    bus.emit("order.placed", id="a", delay=60)
    bus.emit("order.placed", id="a")
    memory.run_until_idle()
    bus.emit("order.placed", id="b")
    bus.emit("order.placed", id="b", delay=60)
    memory.run_until_idle()
    assert {"a": 1, "b": 1} == ran


def test_a_copy_of_any_event_runs_nothing(bus: EventBus, memory: MemoryBus) -> None:
    bus.emit("order.placed")
    bus.emit("order.placed", id="a")
    memory.store.event_log.append("order", encode(bus.event("order.placed", id="b")))
    memory.run_until_idle()
    assert 3 == memory.duplicate_all()
    memory.run_until_idle()
    bus.emit("order.placed", id="b")
    memory.run_until_idle()
    assert [1, 1, 1] == [*ran.values()]
