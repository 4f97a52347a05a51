"""A dispatcher with a slow handler: what it fetches for it, what it requeues, what continues."""

from __future__ import annotations

from typing import Any

import pytest

from celeriac import Event, EventBus
from celeriac.delivery import Completion, FetchRequest, Outcome
from celeriac.delivery.chunk_store import ChunkCompletion
from celeriac.dispatcher.group_state import OPEN_CHUNKS
from celeriac.event import read_header
from celeriac.testing.store import Store
from tests.unit.dispatcher.conftest import MakeDispatcher, Sent

SLOW, FAST = 5_000_000, 1_000  # µs


@pytest.fixture(autouse=True)
def handlers(bus: EventBus) -> None:
    @bus.on("order.placed")
    def slow(event: Event[Any]) -> None: ...

    @bus.on("stock.moved")
    def quick(event: Event[Any]) -> None: ...


def measure(bus: EventBus, store: Store, name: str, type: str, mean_us: int) -> None:
    """Lets the handler process one event, with this run time."""
    group = bus.service.handlers[f"billing.{name}"].group(type.partition(".")[0])
    bus.emit(type)
    [taken] = store.deliveries.fetch("other", [FetchRequest(group, 1)])
    [delivery] = taken.deliveries
    event_id = read_header(delivery.body or b"").id
    [claimed] = store.deliveries.claim("other", group, [(delivery.entry, event_id)], 5)
    said = Completion(delivery.entry, event_id, claimed.attempt, Outcome.PROCESSED, took_us=mean_us)
    store.deliveries.complete("other", group, [said], mean_us)


def tasks(sent: Sent, name: str) -> int:
    return sum(len(chunk.items) for chunk in sent if chunk.handler.name == name)


def test_a_slow_handler_leaves_a_process_free_and_its_backlog_in_the_log(
    bus: EventBus, store: Store, dispatcher: MakeDispatcher, sent: Sent
) -> None:
    made = dispatcher(processes=3)
    measure(bus, store, "slow", "order.placed", SLOW)
    measure(bus, store, "quick", "stock.moved", FAST)
    made.run_once()
    bus.emit_many([("order.placed", {})] * 20)
    for _ in range(5):
        made.run_once()
    assert tasks(sent, "slow") == 2
    bus.emit_many([("stock.moved", {})] * 20)
    for _ in range(5):
        made.run_once()
    assert tasks(sent, "quick") == 20
    [state] = store.event_log.groups("order")
    assert state.lag is not None and state.lag + state.holders.get("scheduled", 0) == 18


def test_what_ends_makes_room_for_the_next(
    bus: EventBus, store: Store, dispatcher: MakeDispatcher, sent: Sent
) -> None:
    made = dispatcher(processes=3)
    measure(bus, store, "slow", "order.placed", SLOW)
    measure(bus, store, "quick", "stock.moved", FAST)
    made.run_once()
    bus.emit_many([("order.placed", {})] * 20)
    for _ in range(5):
        made.run_once()
    [first, _] = sent
    group = bus.service.handlers["billing.slow"].group("order")
    [claimed] = store.deliveries.claim(bus.service.worker, group, first.pairs, 5)
    [(entry, event_id)] = first.pairs
    said = Completion(entry, event_id, claimed.attempt, Outcome.PROCESSED, took_us=SLOW)
    store.deliveries.complete(bus.service.worker, group, [said], SLOW)
    for _ in range(5):
        made.run_once()
    assert tasks(sent, "slow") == 3


def test_a_handler_that_turns_slow_requeues_what_waits(
    bus: EventBus, store: Store, dispatcher: MakeDispatcher, sent: Sent
) -> None:
    """The chunks of its tasks that are under way are not there any more."""
    made = dispatcher(processes=3)
    measure(bus, store, "slow", "order.placed", FAST)
    measure(bus, store, "quick", "stock.moved", FAST)
    made.run_once()
    bus.emit_many([("order.placed", {})] * 200)
    for _ in range(10):
        made.run_once()
    before = list(sent)
    assert len(before) == OPEN_CHUNKS * 3
    assert tasks(sent, "slow") > 50
    group = bus.service.handlers["billing.slow"].group("order")
    chunk, *waiting = before
    begun = store.backend.chunks.begin("other", group, chunk.id)
    assert begun
    first = begun[0]
    done = ChunkCompletion(first.id, 1, counts={"processed": 1}, mean_us=SLOW)
    assert store.backend.chunks.complete("other", group, chunk.id, done)
    sent.clear()
    for _ in range(5):
        made.run_once()
    assert tasks(sent, "slow") == 2
    for one in waiting:
        assert None is store.backend.chunks.begin("other", group, one.id)


def test_concurrency_bounds_what_is_sent(
    bus: EventBus, store: Store, dispatcher: MakeDispatcher, sent: Sent
) -> None:
    @bus.on("report.asked", concurrency=2)
    def render(event: Event[Any]) -> None: ...

    made = dispatcher(processes=8)
    measure(bus, store, "render", "report.asked", FAST)
    bus.emit_many([("report.asked", {})] * 20)
    for _ in range(5):
        made.run_once()
    assert tasks(sent, "render") == 2
