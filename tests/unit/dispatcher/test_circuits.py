"""A paused handler: what its dispatcher leaves in the log, requeues, and fetches again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from celeriac import Breaker, BusUnavailable, Event, EventBus
from celeriac.circuit_breaker import Circuit, CircuitState, Probe
from celeriac.delivery import FetchRequest
from celeriac.dispatcher.circuits import REFRESH_INTERVAL, CircuitCache
from celeriac.testing.store import Store
from tests.unit.dispatcher.conftest import MakeDispatcher, Sent


def subscribed(bus: EventBus, **options: Any) -> None:
    @bus.on("order.placed", **options)
    def charge(event: Event[Any]) -> None: ...


def test_nothing_is_taken_for_a_paused_handler(
    bus: EventBus, store: Store, dispatcher: MakeDispatcher, sent: Sent
) -> None:
    subscribed(bus)
    made = dispatcher()
    store.backend.circuits.pause("billing.charge")
    bus.emit("order.placed", {})
    made.run_once()
    assert sent == []
    [state] = store.event_log.groups("order")
    assert (state.lag, state.pending) == (1, 0)
    store.backend.circuits.resume("billing.charge")
    made.run_once()
    assert len(sent) == 1


def test_what_was_queued_is_requeued_and_its_task_finds_nothing(
    bus: EventBus, store: Store, dispatcher: MakeDispatcher, sent: Sent
) -> None:
    subscribed(bus)
    made = dispatcher()
    event_id = bus.emit("order.placed", {})
    made.run_once()
    [task] = sent
    store.backend.circuits.pause("billing.charge")
    made.run_once()
    group = bus.service.handlers["billing.charge"].group("order")
    assert store.deliveries.claim("w", group, task.pairs, 5) == []
    sent.clear()
    store.backend.circuits.resume("billing.charge")
    made.run_once()
    assert sent.ids == [[event_id]]


def test_what_the_broker_did_not_take_is_not_sent_once_the_handler_is_paused(
    bus: EventBus, store: Store, dispatcher: MakeDispatcher, sent: Sent
) -> None:
    subscribed(bus)
    made = dispatcher()
    event_id = bus.emit("order.placed", {})
    sent.away = BusUnavailable("the broker is away")
    with pytest.raises(BusUnavailable):
        made.run_once()
    store.backend.circuits.pause("billing.charge")
    sent.away = None
    made.run_once()
    assert sent == []
    store.backend.circuits.resume("billing.charge")
    made.run_once()
    assert sent.ids == [[event_id]]


@pytest.mark.parametrize("way", ["pause", "stop"])
def test_all_that_is_queued_goes_back_however_much_it_is(
    bus: EventBus, store: Store, dispatcher: MakeDispatcher, way: str
) -> None:
    """The delivery store requeues a thousand in one call."""
    subscribed(bus)
    made = dispatcher()
    bus.emit_many([("order.placed", {})] * 1001)
    group = bus.service.handlers["billing.charge"].group("order")
    [taken] = store.deliveries.fetch(bus.service.worker, [FetchRequest(group, 2000, max_new=2000)])
    assert len(taken.deliveries) == 1001
    if way == "pause":
        store.backend.circuits.pause("billing.charge")
        made.run_once()
    else:
        made.requeue()
    assert store.deliveries.due(group) == 1001


def test_other_handlers_are_served_during_that_time(
    bus: EventBus, store: Store, dispatcher: MakeDispatcher, sent: Sent
) -> None:
    subscribed(bus)

    @bus.on("order.placed")
    def other(event: Event[Any]) -> None: ...

    made = dispatcher()
    store.backend.circuits.pause("billing.charge")
    bus.emit("order.placed", {})
    made.run_once()
    assert [chunk.handler.name for chunk in sent] == ["other"]


def test_of_a_handler_on_trial_one_event_is_sent(
    bus: EventBus, store: Store, dispatcher: MakeDispatcher, sent: Sent
) -> None:
    breaker = Breaker(failures=1, recovery_timeout=1.0)
    subscribed(bus, breaker=breaker)
    made = dispatcher()
    circuits = store.backend.circuits
    circuits.record("billing.charge", breaker, 1, 1, "down")
    first, *_ = [bus.emit("order.placed", {}) for _ in range(3)]
    made.run_once()
    assert sent == []
    store.clock.advance(1001)
    for _ in range(3):
        made.run_once()
    assert sent.ids == [[first]]
    # also where it runs, so that none is queued
    assert store.deliveries.claim(bus.service.worker, sent[0].group, sent[0].pairs, 5)
    made.run_once()
    assert sent.ids == [[first]]
    assert circuits.get("billing.charge").state is CircuitState.HALF_OPEN
    circuits.record("billing.charge", breaker, 1, 0)
    made.run_once()
    assert len(sent) > 1


def test_a_trial_waits_for_an_event_to_come(
    bus: EventBus, store: Store, dispatcher: MakeDispatcher, sent: Sent
) -> None:
    """Nothing was in the log when the pause was over; the first that comes is tried at once."""
    breaker = Breaker(failures=1, recovery_timeout=1.0)
    subscribed(bus, breaker=breaker)
    made = dispatcher()
    store.backend.circuits.record("billing.charge", breaker, 1, 1, "down")
    store.clock.advance(1001)
    made.run_once()
    made.run_once()
    event_id = bus.emit("order.placed", {})
    made.run_once()
    assert sent.ids == [[event_id]]


@pytest.mark.parametrize(("breaker", "looks"), [(None, 1), (Breaker(), 2)])
def test_only_handlers_with_a_breaker_have_their_circuits_read_in_each_turn(
    bus: EventBus, store: Store, monkeypatch: pytest.MonkeyPatch, breaker: Any, looks: int
) -> None:
    subscribed(bus, breaker=breaker)
    handlers = list(bus.service.handlers.values())
    read: list[Any] = []
    every = store.backend.circuits.all

    def count() -> Any:
        read.append(every())
        return read[-1]

    monkeypatch.setattr(store.backend.circuits, "all", count)
    circuits = CircuitCache()
    for now in (0.0, REFRESH_INTERVAL / 2):
        circuits.refresh(store.backend, "w", handlers, 30_000, now)
    assert looks == len(read)
    circuits.refresh(store.backend, "w", handlers, 30_000, REFRESH_INTERVAL)
    assert looks + 1 == len(read)


class Probed:
    """A cache over circuits with these limits, since these times."""

    def __init__(self, bus: EventBus) -> None:
        self.limits: dict[str, tuple[int | None, int]] = {}
        self.cache = CircuitCache()
        circuits = SimpleNamespace(all=lambda: self.limits, probe=self._probe)
        self._backend: Any = SimpleNamespace(circuits=circuits)
        self._handlers = [*bus.service.handlers.values()]
        self._now = 0.0

    def _probe(self, handler: str, worker: str, lease_ms: int) -> Probe:
        limit, since_ms = self.limits[handler]
        return Probe(Circuit(handler=handler, since_ms=since_ms), limit)

    def refresh(self) -> list[str]:
        self._now += REFRESH_INTERVAL
        return self.cache.refresh(self._backend, "w", self._handlers, 30_000, self._now)

    @property
    def limit(self) -> int | None:
        return self.cache.limit("billing.charge")


def test_a_circuit_that_opened_is_reported_once(bus: EventBus, store: Store) -> None:
    subscribed(bus)
    probed = Probed(bus)
    reported = []
    # on trial when this worker started, paused, closed, and paused again
    for limits in [(1, 5), (0, 7), (0, 7), (None, 8), (0, 9)]:
        probed.limits["billing.charge"] = limits
        reported.append((probed.refresh(), probed.limit))
    opened = ["billing.charge"]
    assert [([], 1), ([], 0), ([], 0), ([], None), (opened, 0)] == reported


def test_a_handler_without_a_circuit_has_no_limit(bus: EventBus, store: Store) -> None:
    subscribed(bus)
    probed = Probed(bus)
    probed.limits["billing.other"] = (0, 5)
    assert ([], None) == (probed.refresh(), probed.limit)


def test_one_event_is_sent_in_each_trial(bus: EventBus, store: Store) -> None:
    subscribed(bus)
    probed = Probed(bus)
    probed.cache.sent("billing.charge")
    limits = []
    for since_ms in (5, 5, 8):
        probed.limits["billing.charge"] = (1, since_ms)
        probed.refresh()
        limits.append(probed.limit)
        probed.cache.sent("billing.charge")
        limits.append(probed.limit)
    assert [1, 0, 0, 0, 1, 0] == limits
