"""Dispatchers emit the ticks of schedules, each once."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace
from redis.exceptions import NoPermissionError

from celeriac import ConfigurationError, Event, EventBus, InvalidEvent, Middleware
from celeriac.dispatcher.schedules import LOOK_AGAIN_MS, Schedules
from celeriac.schedule import MAX_LATE_MS
from celeriac.testing.store import Store

EVERY_MS = 60_000


def ticks(store: Store, domain: str = "report") -> list[int]:
    """The times of the events in the log, in ms."""
    return [int(one.event.time.timestamp() * 1000) for one in emitted(store, domain)]


def emitted(store: Store, domain: str = "report") -> list[Any]:
    return [one for one in store.event_log.emitted if one.event.type.startswith(domain)]


def to_next_tick(store: Store) -> int:
    """Move the clock to the next whole minute."""
    now = store.clock.now_ms()
    store.clock.advance(EVERY_MS - now % EVERY_MS)
    return store.clock.now_ms()


@pytest.fixture
def due(bus: EventBus, store: Store) -> EventBus:
    bus.schedule("report.due", {"kind": "daily"}, every=60, subject="report/1")
    return bus


def test_a_tick_is_emitted_at_its_time_as_an_event_of_the_service(
    due: EventBus, store: Store
) -> None:
    schedules = Schedules(due.service)
    assert 0 < schedules.run() <= 60
    assert emitted(store) == []
    at = to_next_tick(store)
    assert schedules.run() == 60
    [one] = emitted(store)
    event: Event[Any] = one.event
    when = datetime.fromtimestamp(at / 1000, UTC)
    assert (event.type, event.data, event.subject) == ("report.due", {"kind": "daily"}, "report/1")
    assert (event.source, event.time) == (due.settings.source, when)
    assert event.id == f"billing:report.due@{when:%Y-%m-%dT%H:%M:%SZ}"
    assert "report" in store.event_log.domains()


def test_of_several_dispatchers_one_emits_each_tick(due: EventBus, store: Store) -> None:
    several = [Schedules(due.service) for _ in range(3)]
    for one in several:
        one.run()
    first = to_next_tick(store)
    for n in range(5):
        for one in several[n % 3 :] + several[: n % 3]:
            assert one.run() == 60
        to_next_tick(store)
    assert ticks(store) == [first + n * EVERY_MS for n in range(5)]


def test_what_was_missed_while_nothing_ran_is_emitted_after_a_restart(
    bus: EventBus, store: Store
) -> None:
    for missed in ("last", "none", "all"):
        bus.schedule(f"{missed}.due", every=3600, missed=missed)
    Schedules(bus.service).run()
    hour = 3_600_000
    store.clock.advance(hour - store.clock.now_ms() % hour + 3 * hour + 2 * MAX_LATE_MS)
    last = store.clock.now_ms() // hour * hour
    restarted = Schedules(bus.service)
    restarted.run()
    restarted.run()
    assert ticks(store, "last") == [last]
    assert ticks(store, "none") == []
    assert ticks(store, "all") == [last - n * hour for n in (3, 2, 1, 0)]


def test_many_missed_ticks_take_several_turns(bus: EventBus, store: Store) -> None:
    bus.schedule("report.due", every=1, missed="all")
    schedules = Schedules(bus.service)
    schedules.run()
    store.clock.advance(100_000)
    turns = 0
    while schedules.run() == 0.0:
        turns += 1
    assert turns >= 4
    assert len(ticks(store)) in (100, 101) and len(set(ticks(store))) == len(ticks(store))


def test_a_new_definition_replaces_the_old_one_and_old_code_stops(
    due: EventBus, store: Store
) -> None:
    old = Schedules(due.service)
    old.run()
    newer = EventBus(service="billing", redis_url=due.settings.redis_url)
    newer.schedule("report.due", every=7200)
    new = Schedules(newer.service)
    new.run()
    to_next_tick(store)
    assert old.run() == LOOK_AGAIN_MS / 1000
    assert emitted(store) == []
    store.clock.advance(7_200_000)
    new.run()
    old.run()
    assert len(ticks(store)) == 1


def test_old_code_takes_over_where_no_worker_has_the_new_one(due: EventBus, store: Store) -> None:
    """As after a deploy that was rolled back without a restart of this worker."""
    old = Schedules(due.service)
    old.run()
    newer = EventBus(service="billing", redis_url=due.settings.redis_url)
    newer.schedule("report.due", every=120)
    Schedules(newer.service).run()
    store.clock.advance(120_000 + MAX_LATE_MS + 1)
    old.run()
    assert emitted(store) == []
    at = to_next_tick(store)
    old.run()
    assert ticks(store) == [at]


def test_a_schedule_that_an_operator_removed_ticks_no_more_until_a_restart(
    due: EventBus, store: Store
) -> None:
    running = Schedules(due.service)
    running.run()
    [stored] = store.backend.schedules.all(["report"])
    assert store.backend.schedules.remove(stored)
    to_next_tick(store)
    running.run()
    assert emitted(store) == [] == store.backend.schedules.all(["report"])
    Schedules(due.service).run()
    assert len(store.backend.schedules.all(["report"])) == 1


def test_middleware_sees_a_tick_once(store: Store) -> None:
    seen: list[str] = []

    class Noted(Middleware):
        def before_emit(self, event: Event[Any]) -> Event[Any]:
            return replace(event, subject="changed")

        def after_emit(self, event: Event[Any]) -> None:
            seen.append(event.id)

    bus = EventBus(service="billing", middleware=[Noted()])
    bus.schedule("report.due", every=60)
    several = [Schedules(bus.service) for _ in range(2)]
    for one in several:
        one.run()
    to_next_tick(store)
    for one in several:
        one.run()
    [one] = emitted(store)
    assert seen == [one.event.id] and one.event.subject == "changed"


def test_a_tick_that_cannot_be_emitted_is_retried_and_stops_nothing(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(Middleware):
        fails = True

        def before_emit(self, event: Event[Any]) -> Event[Any]:
            if self.fails and event.domain == "report":
                raise ValueError("wrong")
            return event

    failing = Failing()
    bus = EventBus(service="billing", middleware=[failing])
    for type in ("report.due", "invoice.due"):
        bus.schedule(type, every=60)
    schedules = Schedules(bus.service)
    schedules.run()
    at = to_next_tick(store)
    for _ in range(3):
        assert schedules.run() == LOOK_AGAIN_MS / 1000
        store.clock.advance(LOOK_AGAIN_MS)
    assert (ticks(store), ticks(store, "invoice")) == ([], [at])
    assert caplog.text.count("the tick of the schedule report.due") == 1
    failing.fails = False
    schedules.run()
    assert ticks(store) == [at]


def test_without_schedules_there_is_nothing_to_wait_for(bus: EventBus, store: Store) -> None:
    assert Schedules(bus.service).run() == float("inf")


def test_what_the_acl_forbids_is_reported_once_and_stops_nothing(
    due: EventBus, store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    due.schedule("invoice.due", every=60)

    def refuse(schedule: Any, next_ms: int) -> Any:
        if schedule.name == "report.due":
            raise NoPermissionError("this user has no permissions")
        return declare(schedule, next_ms)

    declare = store.backend.schedules.declare
    monkeypatch.setattr(store.backend.schedules, "declare", refuse)
    schedules = Schedules(due.service)
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            schedules.run()
            to_next_tick(store)
    assert len(ticks(store, "invoice")) == 2 and ticks(store) == []
    assert len([r for r in caplog.records if "does not tick in this worker" in r.message]) == 1


def test_a_schedule_that_the_acl_forbids_for_long_is_reported_once(
    due: EventBus, store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: Any) -> Any:
        raise NoPermissionError("this user has no permissions")

    for command in ("declare", "read"):
        monkeypatch.setattr(store.backend.schedules, command, refuse)
    schedules = Schedules(due.service)
    for _ in range(3):
        assert schedules.run() == MAX_LATE_MS / 1000
        store.clock.advance(MAX_LATE_MS)
    assert caplog.text.count("does not tick in this worker") == 1


def test_a_schedule_is_checked_when_it_is_declared(bus: EventBus) -> None:
    bus.schedule("report.due", every=60)
    with pytest.raises(ConfigurationError, match="the name is taken"):
        bus.schedule("report.due", every=30)
    bus.schedule("report.due", every=30, name="half a minute")
    with pytest.raises(ConfigurationError, match="id cannot be given"):
        bus.schedule("report.due", every=30, name="other", id="a")
    with pytest.raises(InvalidEvent):
        bus.schedule("report.due", {1, 2}, every=30, name="other")
    with pytest.raises(ConfigurationError, match="can have neither handlers nor schedules"):
        EventBus().schedule("report.due", every=60)
    assert list(bus.service.schedules) == ["report.due", "half a minute"]
