"""Transitions of deliveries in memory, at times that the tests set."""

from __future__ import annotations

from typing import Any

import pytest

from celeriac.delivery import Completion, DeliveryState, FlowControl, Group, Outcome
from celeriac.event_log import EntryKind
from celeriac.settings import Settings
from tests.contract.store import DOMAIN, MemoryStore, body, settled

GROUP = Group(DOMAIN, "billing.charge")


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore(Settings.load({}))
    store.event_log.join(DOMAIN, GROUP.handler, "0")
    return store


def limited(**flow_control: Any) -> Group:
    return Group(DOMAIN, GROUP.handler, FlowControl(**flow_control))


def fetched(store: MemoryStore, group: Group = GROUP) -> list[str]:
    return [delivery.entry for delivery in store.fetch(group).deliveries]


def test_a_requeued_retry_has_no_run_time(store: MemoryStore) -> None:
    store.emit("a")
    [claimed] = store.run(GROUP)
    store.complete(GROUP, claimed, Outcome.RETRY, took_us=1500)
    [claimed] = store.claim(GROUP, store.fetch(GROUP).deliveries)
    assert claimed.attempt == 2
    store.complete(GROUP, claimed, Outcome.REQUEUED)
    [row] = store.deliveries.rows(GROUP, ["a"])
    assert row is not None
    assert (row.state, row.attempt, row.took_us) == (DeliveryState.SCHEDULED, 1, 0)


def test_an_entry_that_failed_runs_alone_and_the_others_as_a_list(store: MemoryStore) -> None:
    group = limited(quiet_ms=1000, max_quiet_ms=2000, keep="all", concurrency=1)
    failed, *others = [store.emit(f"a{n}", "s") for n in range(3)]
    fetched(store, group)
    store.pass_ms(1000)
    claimed = store.claim(group, store.fetch(group).deliveries)
    store.complete(group, claimed[0], Outcome.RETRY)
    for one in claimed[1:]:
        store.complete(group, one, Outcome.REQUEUED)
    [first] = store.fetch(group).deliveries
    assert (first.entry, first.together) == (failed, "")
    [again] = store.claim(group, [first])
    assert (again.attempt, store.complete(group, again)) == (2, True)
    following = store.fetch(group).deliveries
    assert [(one.entry, one.together) for one in following] == [
        (others[0], others[0]), (others[1], others[0]),
    ]  # fmt: skip


@pytest.mark.parametrize("kind", [EntryKind.MADE, EntryKind.FOREIGN])
def test_without_debouncing_a_new_event_is_delivered_at_once(
    store: MemoryStore, kind: EntryKind
) -> None:
    entry = store.event_log.append(DOMAIN, body("a", "s"), kind)
    assert fetched(store, limited(concurrency=1)) == [entry]


def test_completions_of_lost_deliveries_count_nothing(store: MemoryStore) -> None:
    store.emit("a")
    [claimed] = store.run(GROUP)
    done = settled(claimed, Outcome.PROCESSED)
    assert store.deliveries.complete("w2", GROUP, [done], 5000) == [claimed.entry]
    assert store.deliveries.stats(GROUP).get("mean_us", 0) == 0
    assert store.deliveries.complete("w1", GROUP, [done, done], 5000) == [claimed.entry]
    assert store.deliveries.stats(GROUP)["mean_us"] == 5000


def test_a_claim_of_nothing_counts_nothing(store: MemoryStore) -> None:
    assert store.deliveries.claim("w1", GROUP, [("1-0", "a")], 9) == []
    assert not any(store.deliveries.stats(GROUP).values())


@pytest.mark.parametrize(("attempts", "together"), [(0, True), (1, False), (2, False)])
def test_an_entry_that_ran_before_is_claimed_alone(
    store: MemoryStore, attempts: int, together: bool
) -> None:
    """It may have ended its process."""
    store.emit("a")
    for _ in range(attempts):
        [claimed] = store.run(GROUP)
        store.complete(GROUP, claimed, Outcome.RETRY)
    store.emit("b")
    deliveries = store.fetch(GROUP).deliveries
    assert [one.attempts for one in deliveries] == [attempts, 0]
    claimed_ids = [one.entry for one in store.claim(GROUP, deliveries)]
    assert len(claimed_ids) == (2 if together else 1)
    if not together:
        [alone] = store.claim(GROUP, deliveries[:1])
        assert (alone.attempt, alone.lost_runs) == (attempts + 1, 0)


def test_several_groups_are_skipped_in_one_call(store: MemoryStore) -> None:
    store.emit("a")
    [delivery] = store.fetch(GROUP).deliveries
    skipped = [Completion(delivery.entry, "a", 0, Outcome.SKIPPED)]
    store.deliveries.skip_many("w1", [(Group(DOMAIN, "unknown"), skipped), (GROUP, skipped)])
    [row] = store.deliveries.rows(GROUP, ["a"])
    assert row is not None and row.state is DeliveryState.SKIPPED


def test_a_running_delivery_has_no_run_time_yet(store: MemoryStore) -> None:
    store.emit("a")
    store.run(GROUP)
    [row] = store.deliveries.rows(GROUP, ["a"])
    assert row is not None
    assert (row.state, row.attempt, row.took_us) == (DeliveryState.RUNNING, 1, 0)


@pytest.mark.parametrize(("late_ms", "is_kept"), [(-1, True), (0, False)])
def test_a_row_is_kept_for_the_window_of_deduplication(
    store: MemoryStore, late_ms: int, is_kept: bool
) -> None:
    store.emit("a")
    [claimed] = store.run(GROUP)
    store.complete(GROUP, claimed)
    window_ms = int(Settings.load({}).dedup_window * 1000)
    assert store.deliveries.kept_since_ms() <= store.clock.now_ms() - window_ms
    store.pass_ms(window_ms + late_ms)
    [row] = store.deliveries.rows(GROUP, ["a"])
    assert (row is not None) == is_kept


@pytest.mark.parametrize("worker", ["w1", "w2"])
def test_an_invalid_delivery_is_dead_lettered_by_the_worker_that_queued_it(
    store: MemoryStore, worker: str
) -> None:
    entry = store.emit("a")
    store.fetch(GROUP)
    first = store.deliveries.dead_letter_invalid(worker, GROUP, entry, "invalid")
    assert first is (worker == "w1")
    assert store.deliveries.dead_count(DOMAIN) == (worker == "w1")
    assert store.deliveries.stats(GROUP).get("dead", 0) == (worker == "w1")


@pytest.mark.parametrize(
    ("after_ms", "want", "granted", "wait_ms"),
    [
        (0, 1, 0, 100),
        (100, 5, 1, 100),
        (150, 5, 1, 50),
        (250, 1, 1, 0),
        (250, 2, 2, 50),
        (10_000, 99, 10, 100),
    ],
)
def test_a_rate_is_granted_as_time_passes(
    store: MemoryStore, after_ms: int, want: int, granted: int, wait_ms: int
) -> None:
    assert store.deliveries.grant("h", 10, 10.0) == (10, 100)
    store.pass_ms(after_ms)
    assert store.deliveries.grant("h", want, 10.0) == (granted, wait_ms)
