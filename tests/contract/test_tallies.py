"""What is counted by event type and minute, and what a delivery led to."""

from __future__ import annotations

from celeriac.delivery import Failure, Lane, Outcome, Settled
from celeriac.event import MOST_EFFECTS, Effect, Effects
from tests.contract.store import Store, settled

PLACED, PAID = "order.placed", "order.paid"


def test_outcomes_are_counted_by_event_type(store: Store, lane: Lane) -> None:
    for name in "abcd":
        store.emit(name)
    a, b, c, d = store.run(lane)
    said = [
        settled(a, Outcome.PROCESSED, took_us=3000, type=PLACED),
        settled(b, Outcome.PROCESSED, took_us=3000, type=PAID),
        settled(c, Outcome.DEAD, type=PLACED, failure=Failure(attempt=1, at=1, error="E")),
        settled(d, Outcome.RETRY, delay_ms=60_000, type=PLACED),
    ]
    assert [] == store.ledger.finish("w1", lane, said)
    [tallies] = store.ledger.tallies([lane])
    placed, paid = tallies[PLACED], tallies[PAID]
    assert (1, 1, 1, 0) == (placed.processed, placed.retried, placed.dead, placed.skipped)
    assert (1, 0, 0) == (paid.processed, paid.retried, paid.dead)
    assert {2: 1} == paid.run.buckets and 3000 == paid.run.sum_us
    assert (3, 3, 1) == (placed.run.count, placed.wait.count, placed.total.count)


def test_what_is_said_twice_is_counted_once(store: Store, lane: Lane) -> None:
    store.emit("a")
    [claimed] = store.run(lane)
    one = settled(claimed, Outcome.PROCESSED, type=PLACED)
    store.ledger.finish("w1", lane, [one])
    store.ledger.finish("w1", lane, [one])
    [tallies] = store.ledger.tallies([lane])
    assert 1 == tallies[PLACED].processed


def test_the_wait_is_counted_for_the_first_attempt_alone(store: Store, lane: Lane) -> None:
    store.emit("a")
    [first] = store.run(lane)
    store.ledger.finish("w1", lane, [settled(first, Outcome.RETRY, type=PLACED)])
    [second] = store.claim(lane, store.take(lane).deliveries)
    store.ledger.finish("w1", lane, [settled(second, Outcome.PROCESSED, type=PLACED)])
    [tallies] = store.ledger.tallies([lane])
    placed = tallies[PLACED]
    assert (2, 1, 1) == (placed.run.count, placed.wait.count, placed.total.count)


def test_skipped_in_passing_is_counted_and_ignored_is_not(store: Store, lane: Lane) -> None:
    store.emit("a")
    store.emit("b")
    a, b = store.take(lane).deliveries
    said = [
        Settled(a.entry, "a", 0, Outcome.SKIPPED, type=PLACED),
        Settled(b.entry, "b", 0, Outcome.IGNORED, type=PAID),
    ]
    assert [] == store.ledger.skip("w1", lane, said)
    [tallies] = store.ledger.tallies([lane])
    assert {PLACED} == tallies.keys()
    assert (1, 0) == (tallies[PLACED].skipped, tallies[PLACED].run.count)


def test_each_minute_has_tallies_of_its_own(store: Store, lane: Lane) -> None:
    store.emit("a")
    [claimed] = store.run(lane)
    store.ledger.finish("w1", lane, [settled(claimed, Outcome.PROCESSED, type=PLACED)])
    [minutes] = store.ledger.tallies_by_minute([lane], 5)
    assert 5 == len(minutes)
    assert sorted(minutes) == list(minutes)
    counted = [tallies[PLACED].processed for tallies in minutes.values() if tallies]
    assert [1] == counted
    [minutes] = store.ledger.tallies_by_minute([lane], 1000)
    assert 60 == len(minutes)
    assert [] == store.ledger.tallies([])
    assert [] == store.ledger.tallies_by_minute([])


def test_what_a_delivery_led_to_is_remembered_over_its_attempts(store: Store, lane: Lane) -> None:
    store.emit("a")
    parcel, letter = Effect("shipment.sent", "1"), Effect("mail.sent", "2")
    [first] = store.run(lane)
    failed = settled(first, Outcome.RETRY, type=PLACED, effects=Effects((parcel,)))
    store.ledger.finish("w1", lane, [failed])
    [second] = store.claim(lane, store.take(lane).deliveries)
    said = settled(second, Outcome.PROCESSED, type=PLACED, effects=Effects((parcel, letter)))
    store.ledger.finish("w1", lane, [said])
    assert [Effects((parcel, letter)), Effects()] == store.ledger.effects(lane, ["a", "x"])
    assert [] == store.ledger.effects(lane, [])


def test_effects_beyond_those_that_are_named_are_counted_over_the_attempts(
    store: Store, lane: Lane
) -> None:
    """Each attempt emits under new ids; what it emits of an id that was given is one event."""
    named = tuple(Effect("mail.sent", str(n)) for n in range(MOST_EFFECTS))
    more = (Effect("mail.sent", "new"), named[0], Effect("mail.sent", "newer"))
    attempts = [Effects(named[:-1]), Effects(more), Effects(named, 7), Effects(named[:1], 40)]
    found, totals = Effects(), []
    store.emit("a")
    [run] = store.run(lane)
    for effects in attempts:
        done = settled(run, Outcome.RETRY, type=PLACED, effects=effects)
        store.ledger.finish("w1", lane, [done])
        [found] = store.ledger.effects(lane, ["a"])
        totals.append((len(found.named), found.unnamed))
        [run] = store.claim(lane, store.take(lane).deliveries)
    assert [(99, 0), (100, 1), (100, 9), (100, 49)] == totals
    assert (*named[:-1], more[0]) == found.named


def test_what_an_outlived_attempt_led_to_is_not_told(store: Store, lane: Lane) -> None:
    store.emit("a")
    [old] = store.run(lane)
    store.claim(lane, store.sweep(lane).deliveries)
    said = settled(old, Outcome.PROCESSED, type=PLACED, effects=Effects((Effect("b", "1"),)))
    assert [old.entry] == store.ledger.finish("w1", lane, [said])
    assert [Effects()] == store.ledger.effects(lane, ["a"])
    assert [{}] == store.ledger.tallies([lane])


def test_forgetting_a_handler_forgets_its_counts(store: Store, lane: Lane) -> None:
    store.emit("a")
    [claimed] = store.run(lane)
    said = settled(claimed, Outcome.PROCESSED, type=PLACED, effects=Effects((Effect("b", "1"),)))
    store.ledger.finish("w1", lane, [said])
    store.log.leave(lane.domain, lane.handler)
    store.ledger.forget(lane)
    assert [{}] == store.ledger.tallies([lane])
    assert [Effects()] == store.ledger.effects(lane, ["a"])
