"""What is counted by event type and minute, and what a delivery led to."""

from __future__ import annotations

from celeriac.delivery import Completion, Failure, Group, Outcome
from celeriac.event import MAX_EMITTED, EmittedEvent, EmittedEvents
from tests.contract.store import Store, settled

PLACED, PAID = "order.placed", "order.paid"


def test_outcomes_are_counted_by_event_type(store: Store, group: Group) -> None:
    for name in "abcd":
        store.emit(name)
    a, b, c, d = store.run(group)
    said = [
        settled(a, Outcome.PROCESSED, took_us=3000, type=PLACED),
        settled(b, Outcome.PROCESSED, took_us=3000, type=PAID),
        settled(c, Outcome.DEAD, type=PLACED, failure=Failure(attempt=1, at=1, error="E")),
        settled(d, Outcome.RETRY, delay_ms=60_000, type=PLACED),
    ]
    assert [] == store.deliveries.complete("w1", group, said)
    [counters] = store.deliveries.counters([group])
    placed, paid = counters[PLACED], counters[PAID]
    assert (1, 1, 1, 0) == (placed.processed, placed.retried, placed.dead, placed.skipped)
    assert (1, 0, 0) == (paid.processed, paid.retried, paid.dead)
    assert {2: 1} == paid.run.buckets and 3000 == paid.run.sum_us
    assert (3, 3, 1) == (placed.run.count, placed.wait.count, placed.total.count)


def test_what_is_reported_twice_is_counted_once(store: Store, group: Group) -> None:
    store.emit("a")
    [claimed] = store.run(group)
    one = settled(claimed, Outcome.PROCESSED, type=PLACED)
    store.deliveries.complete("w1", group, [one])
    store.deliveries.complete("w1", group, [one])
    [counters] = store.deliveries.counters([group])
    assert 1 == counters[PLACED].processed


def test_the_wait_is_counted_for_the_first_attempt_alone(store: Store, group: Group) -> None:
    store.emit("a")
    [first] = store.run(group)
    store.deliveries.complete("w1", group, [settled(first, Outcome.RETRY, type=PLACED)])
    [second] = store.claim(group, store.fetch(group).deliveries)
    store.deliveries.complete("w1", group, [settled(second, Outcome.PROCESSED, type=PLACED)])
    [counters] = store.deliveries.counters([group])
    placed = counters[PLACED]
    assert (2, 1, 1) == (placed.run.count, placed.wait.count, placed.total.count)


def test_a_skipped_entry_is_counted_and_an_ignored_one_is_not(store: Store, group: Group) -> None:
    store.emit("a")
    store.emit("b")
    a, b = store.fetch(group).deliveries
    said = [
        Completion(a.entry, "a", 0, Outcome.SKIPPED, type=PLACED),
        Completion(b.entry, "b", 0, Outcome.IGNORED, type=PAID),
    ]
    assert [] == store.deliveries.skip("w1", group, said)
    [counters] = store.deliveries.counters([group])
    assert {PLACED} == counters.keys()
    assert (1, 0) == (counters[PLACED].skipped, counters[PLACED].run.count)


def test_each_minute_has_tallies_of_its_own(store: Store, group: Group) -> None:
    store.emit("a")
    [claimed] = store.run(group)
    store.deliveries.complete("w1", group, [settled(claimed, Outcome.PROCESSED, type=PLACED)])
    [minutes] = store.deliveries.counters_by_minute([group], 5)
    assert 5 == len(minutes)
    assert sorted(minutes) == list(minutes)
    counted = [counters[PLACED].processed for counters in minutes.values() if counters]
    assert [1] == counted
    [minutes] = store.deliveries.counters_by_minute([group], 1000)
    assert 60 == len(minutes)
    assert [] == store.deliveries.counters([])
    assert [] == store.deliveries.counters_by_minute([])


def test_what_a_delivery_led_to_is_remembered_over_its_attempts(store: Store, group: Group) -> None:
    store.emit("a")
    parcel, letter = EmittedEvent("shipment.sent", "1"), EmittedEvent("mail.sent", "2")
    [first] = store.run(group)
    failed = settled(first, Outcome.RETRY, type=PLACED, emitted_events=EmittedEvents((parcel,)))
    store.deliveries.complete("w1", group, [failed])
    [second] = store.claim(group, store.fetch(group).deliveries)
    said = settled(
        second, Outcome.PROCESSED, type=PLACED, emitted_events=EmittedEvents((parcel, letter))
    )
    store.deliveries.complete("w1", group, [said])
    assert [EmittedEvents((parcel, letter)), EmittedEvents()] == store.deliveries.emitted_events(
        group, ["a", "x"]
    )
    assert [] == store.deliveries.emitted_events(group, [])


def test_effects_beyond_those_that_are_named_are_counted_over_the_attempts(
    store: Store, group: Group
) -> None:
    """Each attempt emits under new ids; what it emits of an id that was given is one event."""
    named = tuple(EmittedEvent("mail.sent", str(n)) for n in range(MAX_EMITTED))
    more = (EmittedEvent("mail.sent", "new"), named[0], EmittedEvent("mail.sent", "newer"))
    attempts = [
        EmittedEvents(named[:-1]),
        EmittedEvents(more),
        EmittedEvents(named, 7),
        EmittedEvents(named[:1], 40),
    ]
    found, totals = EmittedEvents(), []
    store.emit("a")
    [run] = store.run(group)
    for emitted_events in attempts:
        done = settled(run, Outcome.RETRY, type=PLACED, emitted_events=emitted_events)
        store.deliveries.complete("w1", group, [done])
        [found] = store.deliveries.emitted_events(group, ["a"])
        totals.append((len(found.named), found.unnamed))
        [run] = store.claim(group, store.fetch(group).deliveries)
    assert [(99, 0), (100, 1), (100, 9), (100, 49)] == totals
    assert (*named[:-1], more[0]) == found.named


def test_the_outcome_of_an_expired_attempt_is_not_recorded(store: Store, group: Group) -> None:
    store.emit("a")
    [old] = store.run(group)
    store.claim(group, store.reclaim(group).deliveries)
    said = settled(
        old, Outcome.PROCESSED, type=PLACED, emitted_events=EmittedEvents((EmittedEvent("b", "1"),))
    )
    assert [old.entry] == store.deliveries.complete("w1", group, [said])
    assert [EmittedEvents()] == store.deliveries.emitted_events(group, ["a"])
    assert [{}] == store.deliveries.counters([group])


def test_forgetting_a_handler_forgets_its_counts(store: Store, group: Group) -> None:
    store.emit("a")
    [claimed] = store.run(group)
    said = settled(
        claimed,
        Outcome.PROCESSED,
        type=PLACED,
        emitted_events=EmittedEvents((EmittedEvent("b", "1"),)),
    )
    store.deliveries.complete("w1", group, [said])
    store.event_log.leave(group.domain, group.handler)
    store.deliveries.forget(group)
    assert [{}] == store.deliveries.counters([group])
    assert [EmittedEvents()] == store.deliveries.emitted_events(group, ["a"])
