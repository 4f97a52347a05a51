"""A handler with a circuit breaker: what counts, and what becomes of the rest of a chunk."""

from __future__ import annotations

from typing import Any

import pytest

from celeriac import Breaker, CircuitOpen, Event, EventBus, PushFailed, Reject, Retry
from celeriac.circuit_breaker import CircuitState
from celeriac.errors import InvalidData
from celeriac.executor.circuit_reporter import counts_as_failure
from celeriac.testing import in_memory

BREAKER = Breaker(failures=3, window=60, recovery_timeout=30)


@pytest.mark.parametrize(
    "error", [Reject("no"), Retry(), InvalidData("bad"), CircuitOpen("open", after=1)]
)
def test_poison_and_control_flow_do_not_count(error: Exception) -> None:
    assert not counts_as_failure(error)
    assert counts_as_failure(ConnectionError("down"))
    assert counts_as_failure(PushFailed("down", after=1))


def broken_bus(breaker: Breaker | None, **options: Any) -> tuple[EventBus, list[int], list[bool]]:
    """A bus whose handler notes what it runs, and fails while `repaired` is empty."""
    bus = EventBus(service="billing", redis_url="redis://127.0.0.1:1/0")
    ran: list[int] = []
    repaired: list[bool] = []

    @bus.on("order.placed", breaker=breaker, **options)
    def charge(event: Event[dict[str, int]]) -> None:
        ran.append(event.data["n"])
        if not repaired:
            raise ConnectionError("the gateway is down")

    return bus, ran, repaired


def test_it_opens_and_burns_no_further_attempt() -> None:
    """Of a hundred events three are tried; the others wait with the attempts they had."""
    bus, ran, _ = broken_bus(BREAKER, retries=5)
    with in_memory(bus) as memory:
        bus.emit_many([("order.placed", {"n": n}) for n in range(100)])
        memory.run_until_idle(jump=False)
        circuit = bus.service.backend.circuits.get("billing.charge")
        assert circuit.state is CircuitState.OPEN
        assert circuit.reason == "ConnectionError: the gateway is down"
        assert len(ran) == 3
        group = bus.service.handlers["billing.charge"].group("order")
        held = bus.service.backend.deliveries.pending_between(group, "-", "+")
        assert sum(one.attempts for one in held) == 3
        assert not any(one.owner.startswith(("queued", "running")) for one in held)


def test_after_the_pause_one_event_is_tried_and_closes_it() -> None:
    bus, ran, repaired = broken_bus(BREAKER)
    with in_memory(bus) as memory:
        bus.emit_many([("order.placed", {"n": n}) for n in range(20)])
        memory.run_until_idle(jump=False)
        assert len(ran) == 3
        memory.advance(31)
        memory.run_until_idle(jump=False)
        assert len(ran) == 4  # the trial, which failed
        repaired.append(True)
        memory.run_until_idle()
        assert set(ran) == set(range(20))
        assert bus.service.backend.circuits.all() == {}
        memory.assert_no_dead()


@pytest.mark.parametrize("outcome", [Reject("not wanted"), Retry(after=3600)])
def test_after_an_inconclusive_trial_the_next_event_is_tried(
    outcome: Exception,
) -> None:
    """Else it would stay half-open, with one event tried and no answer awaited."""
    bus = EventBus(service="billing", redis_url="redis://127.0.0.1:1/0")
    ran: list[int] = []

    @bus.on("order.placed", breaker=Breaker(failures=1, recovery_timeout=30), retries=0)
    def charge(event: Event[dict[str, int]]) -> None:
        ran.append(event.data["n"])
        if event.data["n"] == 0:
            raise ConnectionError("the gateway is down")
        if event.data["n"] == 1:
            raise outcome

    with in_memory(bus) as memory:
        bus.emit("order.placed", {"n": 0})
        memory.run_until_idle(jump=False)
        memory.advance(31)
        for n in (1, 2):
            bus.emit("order.placed", {"n": n})
            memory.run_until_idle(jump=False)
        assert ran == [0, 1, 2]
        assert bus.service.backend.circuits.all() == {}


def test_rejected_events_do_not_open_it() -> None:
    bus = EventBus(service="billing", redis_url="redis://127.0.0.1:1/0")

    @bus.on("order.placed", breaker=Breaker(failures=1))
    def charge(event: Event[Any]) -> None:
        raise Reject("not wanted")

    with in_memory(bus) as memory:
        bus.emit_many([("order.placed", {})] * 10)
        memory.run_until_idle()
        assert len(memory.dead) == 10
        assert bus.service.backend.circuits.all() == {}


def test_a_batch_that_fails_counts_once() -> None:
    """One call failed, whatever the number of its events."""
    bus = EventBus(service="billing", redis_url="redis://127.0.0.1:1/0")

    @bus.on("order.placed", batch=50, retries=0, breaker=Breaker(failures=2))
    def charge(events: list[Event[Any]]) -> None:
        raise ConnectionError("down")

    with in_memory(bus) as memory:
        bus.emit_many([("order.placed", {})] * 50)
        memory.run_until_idle(jump=False)
        assert bus.service.backend.circuits.all() == {}
        bus.emit_many([("order.placed", {})] * 50)
        memory.run_until_idle(jump=False)
        assert bus.service.backend.circuits.get("billing.charge").state is CircuitState.OPEN


def test_without_a_breaker_nothing_opens() -> None:
    bus, ran, _ = broken_bus(None, retries=0)
    with in_memory(bus) as memory:
        bus.emit_many([("order.placed", {"n": n}) for n in range(20)])
        memory.run_until_idle()
        assert len(ran) == 20
        assert bus.service.backend.circuits.all() == {}
