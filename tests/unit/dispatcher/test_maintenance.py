"""Housekeeping: each duty when its time has come."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis
from redis.exceptions import NoPermissionError

from celeriac import EventBus
from celeriac.dispatcher.maintenance import (
    BEAT_EVERY,
    DISCOVER_EVERY,
    FORGET_EVERY,
    SILENT_LEAST,
    TRIM_AT_ONCE,
    TRIM_EVERY,
    Maintenance,
)
from celeriac.registry import HandlerRecord
from celeriac.testing.store import Store
from tests.unit.dispatcher.conftest import record


class Clock:
    time = 0.0

    def __call__(self) -> float:
        return self.time


def test_the_worker_beats_and_no_more_often_than_it_should(bus: EventBus, store: Store) -> None:
    clock = Clock()
    duties = Maintenance(lambda: store.backend, lambda: record(bus), clock)
    beats = []
    for clock.time in (0.0, BEAT_EVERY - 0.1, BEAT_EVERY):
        store.clock.advance(1000)
        duties.run((), discover=False)
        beats.append(store.registry.workers()[0].beat_ms - store.clock.now_ms())
    assert [0, -1000, 0] == beats


def test_what_is_over_the_retention_goes(bus: EventBus, store: Store) -> None:
    clock = Clock()
    duties = Maintenance(lambda: store.backend, lambda: record(bus), clock)
    bus.emit("order.placed")
    duties.run(["order"], discover=False)
    store.clock.advance(int(bus.settings.retention * 1000) + 1)
    clock.time = TRIM_EVERY - 0.1
    duties.run(["order"], discover=False)
    assert 1 == store.event_log.length("order")
    clock.time = TRIM_EVERY
    duties.run(["order"], discover=False)
    assert 0 == store.event_log.length("order")


def test_logs_of_foreign_producers_are_found_where_a_wildcard_needs_them(
    bus: EventBus, store: Store
) -> None:
    clock = Clock()
    duties = Maintenance(lambda: store.backend, lambda: record(bus), clock)
    with store.event_log.silence():
        store.event_log.append("foreign", b"{}")
    assert not duties.run((), discover=False)
    assert frozenset() == store.event_log.domains()
    assert duties.run((), discover=True)
    assert {"foreign"} == store.event_log.domains()
    clock.time = DISCOVER_EVERY - 0.1
    assert not duties.run((), discover=True)


# -- forgetting empty domains

WEEK = 7 * 86_400.0


class Forgetting:
    """A maintenance of a worker that reaches any domain, and the two clocks that it goes by."""

    def __init__(self, bus: EventBus, store: Store) -> None:
        self.clock, self.store = Clock(), store
        self.duties = Maintenance(lambda: store.backend, lambda: record(bus), self.clock)
        self.there: list[str] = []

    def pass_time(self, seconds: float) -> None:
        self.clock.time += seconds
        self.store.clock.advance(int(seconds * 1000))

    def run(self, *, discover: bool = True) -> bool:
        """What a dispatcher does: a turn with the domains that it serves."""
        return self.duties.run(self.there, discover=discover)

    def empty(self, *domains: str) -> None:
        """Each gets an event without a handler, which is older than the retention then."""
        for domain in domains:
            self.store.event_log.append(domain, b"{}")
        self.there += domains
        self.pass_time(WEEK + 1)
        self.run()
        assert {0} == {self.store.event_log.length(domain) for domain in domains}

    def turn_until_due(self) -> bool:
        """The turn at which what was found empty is forgotten."""
        self.pass_time(FORGET_EVERY)
        return self.run()


@pytest.fixture
def forgetting(bus: EventBus, store: Store) -> Iterator[Forgetting]:
    with store.event_log.silence():
        yield Forgetting(bus, store)


def test_a_domain_that_is_empty_and_silent_goes(forgetting: Forgetting) -> None:
    forgetting.empty("gone")
    assert "gone" not in forgetting.store.event_log.forgotten()
    assert forgetting.turn_until_due()
    assert {"gone"} == forgetting.store.event_log.forgotten()


def test_after_a_domain_was_forgotten_there_are_fewer(forgetting: Forgetting) -> None:
    """Also where it looked for no others in that turn."""
    forgetting.empty("gone")
    forgetting.pass_time(FORGET_EVERY - 1)
    forgetting.run()
    assert not forgetting.run()
    forgetting.pass_time(1)
    assert forgetting.run()
    assert {"gone"} == forgetting.store.event_log.forgotten()


def test_without_an_empty_domain_there_are_not_fewer(forgetting: Forgetting) -> None:
    forgetting.run()
    forgetting.pass_time(DISCOVER_EVERY + 1)
    forgetting.run()
    forgetting.pass_time(FORGET_EVERY - DISCOVER_EVERY - 1)
    assert forgetting.run() is False


def test_a_domain_goes_in_its_time_also_where_another_left_before_it(
    forgetting: Forgetting,
) -> None:
    forgetting.empty("first", "second")
    forgetting.there.remove("first")
    forgetting.pass_time(FORGET_EVERY - 1)
    forgetting.run()
    forgetting.pass_time(1)
    assert forgetting.run()
    assert {"second"} == forgetting.store.event_log.forgotten()


def test_a_domain_that_is_not_silent_yet_is_checked_once_a_minute(
    forgetting: Forgetting, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []

    def refuse(domain: str, silent_ms: int) -> bool:
        asked.append(forgetting.clock.time)
        return False

    forgetting.empty("later")
    monkeypatch.setattr(forgetting.store.event_log, "forget_domain", refuse)
    for _ in range(12):
        forgetting.pass_time(FORGET_EVERY / 4)
        forgetting.run()
    assert 3 == len(asked)


def test_a_worker_without_a_wildcard_leaves_domains_alone(forgetting: Forgetting) -> None:
    forgetting.empty("gone")
    forgetting.pass_time(FORGET_EVERY)
    assert not forgetting.run(discover=False)
    assert frozenset() == forgetting.store.event_log.forgotten()


def test_a_domain_that_a_handler_names_stays(forgetting: Forgetting) -> None:
    named = HandlerRecord(
        id="billing.charge", service="billing", patterns=("named.*",), queue="billing"
    )
    forgetting.store.registry.register(named)
    forgetting.empty("named", "gone")
    forgetting.turn_until_due()
    assert {"gone"} == forgetting.store.event_log.forgotten()


def test_a_domain_that_was_emitted_to_lately_stays_until_it_is_silent(
    bus: EventBus, forgetting: Forgetting
) -> None:
    """It may be empty for other reasons than its age: here it is over the number of events."""
    store = forgetting.store
    store.event_log.bus.establish()
    store.event_log.bus.set("retention_count", "0")
    store.event_log.bus.set("retention", "1")
    forgetting.there = ["busy"]
    store.event_log.append("busy", b"{}")
    forgetting.run()
    assert 0 == store.event_log.length("busy")
    forgetting.turn_until_due()
    assert frozenset() == store.event_log.forgotten()
    forgetting.pass_time(SILENT_LEAST)
    forgetting.run()
    assert {"busy"} == store.event_log.forgotten()


def test_an_event_that_comes_in_time_keeps_its_domain(forgetting: Forgetting) -> None:
    """Found empty before, it is not when it would be forgotten; and the wait begins again."""
    forgetting.empty("again")
    forgetting.store.event_log.append("again", b"{}")
    forgetting.turn_until_due()
    assert 1 == forgetting.store.event_log.length("again")
    assert frozenset() == forgetting.store.event_log.forgotten()


def test_of_many_empty_domains_a_turn_forgets_some(forgetting: Forgetting) -> None:
    names = [f"d{n}" for n in range(2 * TRIM_AT_ONCE)]
    forgetting.there = names[:]
    for name in names:
        forgetting.store.event_log.append(name, b"{}")
    forgetting.pass_time(WEEK + 1)
    forgetting.run()
    forgetting.run()
    forgetting.turn_until_due()
    assert TRIM_AT_ONCE == len(forgetting.store.event_log.forgotten())
    forgetting.turn_until_due()
    assert frozenset(names) == forgetting.store.event_log.forgotten()


def test_where_the_acl_forbids_it_others_do_it(
    forgetting: Forgetting, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def refuse(domain: str, silent_ms: int) -> bool:
        asked.append(domain)
        raise NoPermissionError("User billing has no permissions")

    monkeypatch.setattr(forgetting.store.event_log, "forget_domain", refuse)
    forgetting.empty("one", "two")
    for _ in range(3):
        forgetting.turn_until_due()
    assert ["one"] == asked


def test_another_refusal_is_not_ignored(
    forgetting: Forgetting, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(domain: str, silent_ms: int) -> bool:
        raise redis.ResponseError("WRONGTYPE")

    monkeypatch.setattr(forgetting.store.event_log, "forget_domain", refuse)
    forgetting.empty("gone")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        forgetting.turn_until_due()
