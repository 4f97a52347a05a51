"""Delayed events enter the log when they are due, in few round trips for any number of domains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import redis
from redis.exceptions import NoPermissionError

from celeriac import EventBus
from celeriac.dispatcher import delayed_events
from celeriac.dispatcher.delayed_events import DelayedEvents
from celeriac.testing.store import Store

SECOND_MS = 1000


class Polls:
    """Which domains were polled since the last look."""

    def __init__(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        self._domains: list[str] = []
        enqueue = store.event_log.enqueue_due_many

        def noted(domains: Sequence[str]) -> Any:
            self._domains += domains
            return enqueue(domains)

        monkeypatch.setattr(store.event_log, "enqueue_due_many", noted)

    def domains(self) -> list[str]:
        domains, self._domains = self._domains, []
        return domains


@pytest.fixture
def polls(store: Store, monkeypatch: pytest.MonkeyPatch) -> Polls:
    return Polls(store, monkeypatch)


@pytest.fixture
def parts_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delayed_events, "PART", 2)


def emit(bus: EventBus, domain: str, delay: float) -> None:
    bus.emit(f"{domain}.done", delay=delay)


def in_log(store: Store, domain: str) -> int:
    return store.event_log.length(domain)


def test_without_domains_nothing_is_polled(bus: EventBus, store: Store, polls: Polls) -> None:
    assert [] == DelayedEvents(bus.service)([])
    assert [] == polls.domains()


def test_an_event_is_appended_when_it_is_due_and_the_next_time_is_known(
    bus: EventBus, store: Store
) -> None:
    delayed = DelayedEvents(bus.service)
    emit(bus, "a", 5)
    emit(bus, "a", 9)
    due_ms = store.clock.now_ms() + 5 * SECOND_MS
    assert [(0, due_ms), (0, None)] == list(delayed(["b", "a"]))
    store.clock.advance(5 * SECOND_MS)
    assert [(1, due_ms + 4 * SECOND_MS)] == list(delayed(["a"]))[:1]
    assert 1 == in_log(store, "a")


def test_of_many_domains_each_is_polled_in_its_turn(
    bus: EventBus, store: Store, polls: Polls, parts_of_two: None
) -> None:
    delayed, domains = DelayedEvents(bus.service), ["a", "b", "c", "d", "e"]
    turns = []
    for _ in range(3):
        delayed(domains)
        turns.append(polls.domains())
    assert [["a", "b"], ["c", "d"], ["a", "e"]] == turns


def test_as_many_domains_as_one_part_are_all_polled(
    bus: EventBus, store: Store, polls: Polls, parts_of_two: None
) -> None:
    delayed = DelayedEvents(bus.service)
    for _ in range(2):
        delayed(["a", "b"])
        assert ["a", "b"] == polls.domains()


def test_a_woken_domain_is_polled_out_of_turn_if_the_service_serves_it(
    bus: EventBus, store: Store, polls: Polls, parts_of_two: None
) -> None:
    DelayedEvents(bus.service)(["a", "b", "c", "d", "e"], ["e", "foreign"])
    assert ["a", "b", "e"] == polls.domains()


def test_a_domain_whose_next_event_is_known_is_polled_at_that_time(
    bus: EventBus, store: Store, polls: Polls, parts_of_two: None
) -> None:
    delayed, domains = DelayedEvents(bus.service), ["a", "b", "c", "d", "e", "f"]
    emit(bus, "a", 5)
    due_ms = store.clock.now_ms() + 5 * SECOND_MS
    assert (0, due_ms) in delayed(domains)
    store.clock.advance(5 * SECOND_MS - 1)
    assert (0, due_ms) in delayed(domains), "known, and not polled"
    polls.domains()
    store.clock.advance(1)
    answers = delayed(domains)
    assert (1, ["a", "e", "f"]) == (in_log(store, "a"), polls.domains())
    assert (1, None) in answers
    # Nothing more is known of it.
    assert all(following is None for _, following in delayed(domains))
    assert ["a", "b"] == polls.domains()
    delayed(domains)
    assert ["c", "d"] == polls.domains()


def test_a_domain_that_is_no_longer_served_is_forgotten(
    bus: EventBus, store: Store, polls: Polls, parts_of_two: None
) -> None:
    delayed = DelayedEvents(bus.service)
    emit(bus, "a", 5)
    delayed(["a", "b", "c"])
    store.clock.advance(5 * SECOND_MS)
    assert {(0, None)} == set(delayed(["b", "c", "d"]))
    assert "a" not in polls.domains()[2:]


@pytest.fixture
def refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ACL forbids the domain `no`; the list has the domains that were polled one by one."""
    alone: list[str] = []
    enqueue = store.event_log.enqueue_due

    def one(domain: str) -> Any:
        alone.append(domain)
        if domain == "no":
            raise NoPermissionError("no permissions")
        return enqueue(domain)

    def many(domains: Sequence[str]) -> Any:
        if "no" in domains:
            raise NoPermissionError("no permissions")
        return [enqueue(domain) for domain in domains]

    monkeypatch.setattr(store.event_log, "enqueue_due", one)
    monkeypatch.setattr(store.event_log, "enqueue_due_many", many)
    return alone


def test_a_domain_that_the_acl_forbids_is_left_to_others_and_stops_no_other(
    bus: EventBus, store: Store, refused: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    delayed = DelayedEvents(bus.service)
    emit(bus, "yes", 1)
    due_ms = store.clock.now_ms() + SECOND_MS
    assert [(0, None), (0, due_ms)] == list(delayed(["no", "yes"]))
    store.clock.advance(SECOND_MS)
    assert [(1, None)] == list(delayed(["no", "yes"]))
    assert ["no", "yes"] == refused
    assert 1 == caplog.text.count("delayed events of no are left to the workers")


@pytest.mark.parametrize("method", ["enqueue_due_many", "enqueue_due"])
def test_another_refusal_is_not_ignored(
    bus: EventBus, store: Store, refused: list[str], monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    def refuse(domains: Any) -> Any:
        raise redis.ResponseError("WRONGTYPE")

    monkeypatch.setattr(store.event_log, method, refuse)
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        DelayedEvents(bus.service)(["no", "yes"])


def test_the_domains_that_the_service_emits_are_polled_too(store: Store, polls: Polls) -> None:
    bus = EventBus(service="billing", emitted_domains="order,invoice")
    DelayedEvents(bus.service)(["payment", "order"])
    assert ["invoice", "order", "payment"] == polls.domains()
