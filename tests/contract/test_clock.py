"""The server's clock steps back: nothing waits for as long as that."""

from __future__ import annotations

from celeriac.delivery import Ask, Lane, Outcome
from tests.contract.conftest import MakeStore
from tests.contract.store import DOMAIN, HOUR_MS, Store, body
from tests.contract.test_chunks import fetch


def test_a_retry_comes_after_its_delay(store: Store, lane: Lane) -> None:
    entry = store.emit("a")
    [claimed] = store.run(lane)
    store.finish(lane, claimed, Outcome.RETRY, delay_ms=100)
    store.set_clock_back(HOUR_MS)
    taken = store.take(lane)
    assert taken.next_due_ms is not None
    # The step is known to the second, for that is how often the time is noted.
    left_ms = taken.next_due_ms - taken.now_ms
    assert left_ms <= 100 + 1000
    store.pass_ms(left_ms + 1)
    [delivery] = taken.deliveries or store.take(lane).deliveries
    assert entry == delivery.entry


def test_what_is_scheduled_is_moved_once(store: Store, lane: Lane) -> None:
    store.emit("a")
    [claimed] = store.run(lane)
    store.finish(lane, claimed, Outcome.RETRY, delay_ms=2 * HOUR_MS)
    store.set_clock_back(HOUR_MS)
    first, second = store.take(lane), store.take(lane)
    assert second.next_due_ms is not None
    assert first.next_due_ms == second.next_due_ms
    assert abs(second.next_due_ms - second.now_ms - 2 * HOUR_MS) < 60_000


def test_a_small_correction_moves_nothing(store: Store, lane: Lane) -> None:
    store.emit("a")
    [claimed] = store.run(lane)
    store.finish(lane, claimed, Outcome.RETRY, delay_ms=HOUR_MS)
    store.take(lane)
    store.set_clock_back(300)
    before = store.take(lane).next_due_ms
    assert before == store.take(lane).next_due_ms
    assert None is store.log.clock_step(DOMAIN)


def test_a_lease_lasts_no_longer_than_its_length_from_then_on(make_store: MakeStore) -> None:
    store = make_store(lease=1.0)
    lane = Lane(DOMAIN, "billing.charge")
    store.log.join(DOMAIN, lane.handler, "0")
    queued, running = store.emit("a"), store.emit("b")
    store.claim(lane, store.take(lane, limit=2).deliveries[1:])
    store.set_clock_back(HOUR_MS)
    ask = Ask(lane, 100, sweep=True, most_new=0)
    [taken] = store.ledger.take("w2", [ask])
    assert () == taken.deliveries
    store.pass_ms(1100)
    [taken] = store.ledger.take("w2", [ask])
    assert {queued, running} == {delivery.entry for delivery in taken.deliveries}


def test_the_lease_of_a_chunk_does_so_too(make_store: MakeStore) -> None:
    store = make_store(lease=1.0)
    lane = Lane(DOMAIN, "billing.charge")
    store.log.join(DOMAIN, lane.handler, "0")
    store.emit("a")
    fetch(store, lane)
    store.set_clock_back(HOUR_MS)
    assert 0 == store.chunks.reclaim([lane])
    store.pass_ms(1100)
    assert 1 == store.chunks.reclaim([lane])


def test_what_was_postponed_by_a_delay_comes_after_it(store: Store) -> None:
    store.log.postpone(DOMAIN, body("a"), delay_ms=100, at_ms=None)
    store.log.promote(DOMAIN)
    store.set_clock_back(HOUR_MS)
    store.log.promote(DOMAIN)
    store.pass_ms(150)
    store.log.promote(DOMAIN)
    assert 1 == store.log.length(DOMAIN)


def test_what_was_postponed_until_a_time_of_day_comes_then(store: Store) -> None:
    at = store.registry.now_ms() + 10_000
    assert at == store.log.postpone(DOMAIN, body("a"), delay_ms=None, at_ms=at)
    assert (0, at) == store.log.promote(DOMAIN)
    store.set_clock_back(HOUR_MS)
    assert (0, at) == store.log.promote(DOMAIN)
    assert [(at, body("a"))] == store.log.upcoming(DOMAIN)


def test_the_step_is_told(store: Store, lane: Lane) -> None:
    store.take(lane)
    assert None is store.log.clock_step(DOMAIN)
    store.set_clock_back(HOUR_MS)
    store.take(lane)
    step = store.log.clock_step(DOMAIN)
    assert step is not None
    assert abs(step.ms - HOUR_MS) < 60_000
    assert abs(step.at_ms - store.registry.now_ms()) < 60_000


def test_a_rate_limit_holds_nothing_for_longer_than_its_bucket(store: Store) -> None:
    handler = "billing.charge"
    assert 10 == store.ledger.grant(handler, 10, 10.0)[0]
    store.set_clock_back(HOUR_MS)
    granted, wait_ms = store.ledger.grant(handler, 1, 10.0)
    assert 0 == granted
    assert wait_ms <= 100
    store.pass_ms(wait_ms + 1)
    assert 1 == store.ledger.grant(handler, 1, 10.0)[0]
