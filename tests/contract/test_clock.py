"""The server's clock steps back: nothing waits for as long as that."""

from __future__ import annotations

from celeriac.delivery import FetchRequest, FlowControl, Group, Outcome
from tests.contract.conftest import MakeStore
from tests.contract.store import DOMAIN, HOUR_MS, Store, body
from tests.contract.test_chunks import fetch


def test_a_retry_comes_after_its_delay(store: Store, group: Group) -> None:
    entry = store.emit("a")
    [claimed] = store.run(group)
    store.complete(group, claimed, Outcome.RETRY, delay_ms=100)
    store.set_clock_back(HOUR_MS)
    taken = store.fetch(group)
    assert taken.next_due_ms is not None
    # The step is known to the second, for that is how often the time is noted.
    left_ms = taken.next_due_ms - taken.now_ms
    assert left_ms <= 100 + 1000
    store.pass_ms(left_ms + 1)
    [delivery] = taken.deliveries or store.fetch(group).deliveries
    assert entry == delivery.entry


def test_what_is_scheduled_is_moved_once(store: Store, group: Group) -> None:
    store.emit("a")
    [claimed] = store.run(group)
    store.complete(group, claimed, Outcome.RETRY, delay_ms=2 * HOUR_MS)
    store.set_clock_back(HOUR_MS)
    first, second = store.fetch(group), store.fetch(group)
    assert second.next_due_ms is not None
    assert first.next_due_ms == second.next_due_ms
    assert abs(second.next_due_ms - second.now_ms - 2 * HOUR_MS) < 60_000


def test_a_small_correction_moves_nothing(store: Store, group: Group) -> None:
    store.emit("a")
    [claimed] = store.run(group)
    store.complete(group, claimed, Outcome.RETRY, delay_ms=HOUR_MS)
    store.fetch(group)
    store.set_clock_back(300)
    before = store.fetch(group).next_due_ms
    assert before == store.fetch(group).next_due_ms
    assert None is store.event_log.clock_step(DOMAIN)


def test_a_lease_lasts_no_longer_than_its_length_from_then_on(make_store: MakeStore) -> None:
    store = make_store(lease=1.0)
    group = Group(DOMAIN, "billing.charge")
    store.event_log.join(DOMAIN, group.handler, "0")
    queued, running = store.emit("a"), store.emit("b")
    store.claim(group, store.fetch(group, limit=2).deliveries[1:])
    store.set_clock_back(HOUR_MS)
    ask = FetchRequest(group, 100, reclaim=True, max_new=0)
    [taken] = store.deliveries.fetch("w2", [ask])
    assert () == taken.deliveries
    store.pass_ms(1100)
    [taken] = store.deliveries.fetch("w2", [ask])
    assert {queued, running} == {delivery.entry for delivery in taken.deliveries}


def test_the_lease_of_a_chunk_does_so_too(make_store: MakeStore) -> None:
    store = make_store(lease=1.0)
    group = Group(DOMAIN, "billing.charge")
    store.event_log.join(DOMAIN, group.handler, "0")
    store.emit("a")
    fetch(store, group)
    store.set_clock_back(HOUR_MS)
    assert 0 == store.chunks.reclaim([group])
    store.pass_ms(1100)
    assert 1 == store.chunks.reclaim([group])


def test_what_was_delayed_comes_after_it(store: Store) -> None:
    store.event_log.append_delayed(DOMAIN, body("a"), delay_ms=100, at_ms=None)
    store.event_log.enqueue_due(DOMAIN)
    store.set_clock_back(HOUR_MS)
    store.event_log.enqueue_due(DOMAIN)
    store.pass_ms(150)
    store.event_log.enqueue_due(DOMAIN)
    assert 1 == store.event_log.length(DOMAIN)


def test_what_was_delayed_until_a_time_of_day_comes_then(store: Store) -> None:
    at = store.registry.now_ms() + 10_000
    assert at == store.event_log.append_delayed(DOMAIN, body("a"), delay_ms=None, at_ms=at)
    assert (0, at) == store.event_log.enqueue_due(DOMAIN)
    store.set_clock_back(HOUR_MS)
    assert (0, at) == store.event_log.enqueue_due(DOMAIN)
    assert [(at, body("a"))] == store.event_log.upcoming(DOMAIN)


def test_the_step_is_reported(store: Store, group: Group) -> None:
    store.fetch(group)
    assert None is store.event_log.clock_step(DOMAIN)
    store.set_clock_back(HOUR_MS)
    store.fetch(group)
    step = store.event_log.clock_step(DOMAIN)
    assert step is not None
    assert abs(step.ms - HOUR_MS) < 60_000
    assert abs(step.at_ms - store.registry.now_ms()) < 60_000


def test_a_rate_limit_holds_nothing_for_longer_than_its_bucket(store: Store) -> None:
    handler = "billing.charge"
    assert 10 == store.deliveries.grant(handler, 10, 10.0)[0]
    store.set_clock_back(HOUR_MS)
    granted, wait_ms = store.deliveries.grant(handler, 1, 10.0)
    assert 0 == granted
    assert wait_ms <= 100
    store.pass_ms(wait_ms + 1)
    assert 1 == store.deliveries.grant(handler, 1, 10.0)[0]


def test_the_rate_of_a_key_holds_nothing_for_longer_than_its_bucket(store: Store) -> None:
    group = Group(DOMAIN, "billing.charge", FlowControl(per_second=10.0))
    store.event_log.join(DOMAIN, group.handler, "0")
    for n in range(15):
        store.emit(f"a{n}", "subject")
    assert len(store.fetch(group).deliveries) >= 10
    store.set_clock_back(HOUR_MS)
    # The first fetch detects the step; the second one is after the time of one event.
    fetched = len(store.fetch(group).deliveries)
    store.pass_ms(150)
    assert fetched + len(store.fetch(group).deliveries) >= 1
