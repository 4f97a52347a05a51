"""Faults on demand, with which a test proves that a handler tolerates them."""

from __future__ import annotations

from typing import Any

import pytest

from celeriac import Event, EventBus
from celeriac.delivery import MAX_LOST_RUNS
from celeriac.testing import MemoryBus, in_memory


class Shop:
    """Return a handler that counts every run, and one that records effects by event id."""

    def __init__(self) -> None:
        self.bus = EventBus(service="billing", redis_url="redis://127.0.0.1:1/0")
        self.runs: list[str] = []
        self.charged: dict[str, int] = {}
        self.bus.on("order.placed", retries=2)(self.careless)
        self.bus.on("order.placed", retries=2)(self.idempotent)

    def careless(self, event: Event) -> None:
        self.runs.append(event.id)

    def idempotent(self, event: Event[int]) -> None:
        self.charged.setdefault(event.id, event.data)


@pytest.fixture
def shop() -> Shop:
    return Shop()


def place(shop: Shop, memory: MemoryBus, *ids: str) -> None:
    for n, id in enumerate(ids):
        shop.bus.emit("order.placed", n, id=id)
    memory.run_until_idle()


def test_redelivering_runs_processed_events_again(shop: Shop) -> None:
    with in_memory(shop.bus) as memory:
        place(shop, memory, "a", "b")
        before = dict(shop.charged)
        assert 4 == memory.redeliver_all()
        memory.run_until_idle()
        assert before == shop.charged
        assert ["a", "b", "a", "b"] == shop.runs


def test_one_handler_alone_can_be_redelivered(shop: Shop) -> None:
    with in_memory(shop.bus) as memory:
        place(shop, memory, "a")
        assert (
            1 == memory.redeliver_all(shop.idempotent) == memory.redeliver_all("billing.careless")
        )
        assert 2 == memory.run_until_idle().processed


def test_the_same_id_emitted_twice_is_one_event(shop: Shop) -> None:
    with in_memory(shop.bus) as memory:
        place(shop, memory, "a", "b")
        assert 2 == memory.duplicate_all()
        assert 0 == memory.run_until_idle().processed
        assert 2 == len(memory.emitted)
    assert ["a", "b"] == shop.runs


def test_a_crash_before_the_record_repeats_the_run_when_the_lease_is_over(shop: Shop) -> None:
    with in_memory(shop.bus) as memory:
        began = memory.now
        shop.bus.emit("order.placed", 1, id="a", handlers=["billing.careless"])
        memory.crash_before_ack()
        result = memory.run_until_idle()
        assert (1, 1) == (result.crashed, result.processed)
        assert shop.bus.settings.lease == (memory.now - began).total_seconds()
    assert ["a", "a"] == shop.runs


def test_an_event_that_only_ever_crashes_is_given_up_as_poison(shop: Shop) -> None:
    with in_memory(shop.bus) as memory:
        shop.bus.emit("order.placed", 1, id="a", handlers=["billing.careless"])
        memory.crash_before_ack(times=MAX_LOST_RUNS)
        assert (MAX_LOST_RUNS, 1) == (
            (result := memory.run_until_idle()).crashed,
            result.dead,
        )
        assert "dead-lettered as poison" in memory.dead[0].error
    assert ["a"] * MAX_LOST_RUNS == shop.runs


def test_a_seed_shuffles_and_repeats_itself(shop: Shop) -> None:
    def order(seed: int) -> list[str]:
        shop.runs.clear()
        with in_memory(shop.bus) as memory:
            for n in range(20):
                shop.bus.emit("order.placed", n, id=f"{n:02}")
            memory.run_until_idle(shuffle=seed)
        return list(shop.runs)

    first = order(1)
    assert first != sorted(first) == sorted(f"{n:02}" for n in range(20))
    assert first == order(1)
    assert first != order(2)


def test_an_ordered_handler_keeps_its_order_in_any_disorder() -> None:
    bus = EventBus(service="billing")
    ran: dict[str, list[Any]] = {"a": [], "b": []}
    failed: set[Any] = set()

    @bus.on("order.*", ordered=True, jitter=0.0)
    def handle(event: Event) -> None:
        assert event.subject
        if event.data == 3 and event.id not in failed:
            failed.add(event.id)
            raise ValueError("the first time")
        ran[event.subject].append(event.data)

    for seed in range(5):
        with in_memory(bus) as memory:
            for n in range(8):
                for subject in "ab":
                    bus.emit("order.changed", n, subject=subject)
            memory.run_until_idle(shuffle=seed)
        assert {"a": list(range(8)), "b": list(range(8))} == ran
        ran["a"].clear()
        ran["b"].clear()
