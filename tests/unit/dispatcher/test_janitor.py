"""Housekeeping: each duty when its time has come."""

from __future__ import annotations

from celeriac import EventBus
from celeriac.dispatcher.janitor import BEAT_EVERY, DISCOVER_EVERY, TRIM_EVERY, Janitor
from celeriac.testing.store import Store
from tests.unit.dispatcher.conftest import record


class Clock:
    time = 0.0

    def __call__(self) -> float:
        return self.time


def test_the_worker_beats_and_no_more_often_than_it_should(bus: EventBus, store: Store) -> None:
    clock = Clock()
    janitor = Janitor(lambda: store.backend, lambda: record(bus), clock)
    beats = []
    for clock.time in (0.0, BEAT_EVERY - 0.1, BEAT_EVERY):
        store.clock.advance(1000)
        janitor.turn((), discover=False)
        beats.append(store.registry.workers()[0].beat_ms - store.clock.now_ms())
    assert [0, -1000, 0] == beats


def test_what_is_over_the_retention_goes(bus: EventBus, store: Store) -> None:
    clock = Clock()
    janitor = Janitor(lambda: store.backend, lambda: record(bus), clock)
    bus.emit("order.placed")
    janitor.turn(["order"], discover=False)
    store.clock.advance(int(bus.settings.retention * 1000) + 1)
    clock.time = TRIM_EVERY - 0.1
    janitor.turn(["order"], discover=False)
    assert 1 == store.log.length("order")
    clock.time = TRIM_EVERY
    janitor.turn(["order"], discover=False)
    assert 0 == store.log.length("order")


def test_logs_of_foreign_producers_are_found_where_a_wildcard_needs_them(
    bus: EventBus, store: Store
) -> None:
    clock = Clock()
    janitor = Janitor(lambda: store.backend, lambda: record(bus), clock)
    with store.log.silence():
        store.log.append("foreign", b"{}")
    assert not janitor.turn((), discover=False)
    assert frozenset() == store.log.domains()
    assert janitor.turn((), discover=True)
    assert {"foreign"} == store.log.domains()
    clock.time = DISCOVER_EVERY - 0.1
    assert not janitor.turn((), discover=True)
