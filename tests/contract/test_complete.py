"""What becomes of a delivery once its handler ran: the matrix, retries, duplicates, statistics."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from celeriac.delivery import (
    ClaimResult,
    Completion,
    DeliveryState,
    Failure,
    Group,
    Outcome,
    refused_field,
)
from celeriac.event_log import EntryKind
from tests.contract.store import DOMAIN, HOUR_MS, Store, body, settled


def state(store: Store, group: Group, event_id: str) -> str | None:
    [row] = store.deliveries.rows(group, [event_id])
    return row.state if row else None


def test_a_processed_event_has_its_row_and_is_pending_no_more(store: Store, group: Group) -> None:
    entry = store.emit("a")
    [claimed] = store.run(group)
    assert DeliveryState.RUNNING == state(store, group, "a")
    assert store.complete(group, claimed, took_us=1500)
    [row] = store.deliveries.rows(group, ["a"])
    assert row is not None
    assert (DeliveryState.PROCESSED, entry, 1, 1500) == (
        row.state,
        row.entry,
        row.attempt,
        row.took_us,
    )
    assert abs(row.at_ms - store.registry.now_ms()) < 60_000
    assert None is store.deliveries.pending(group, entry)
    assert () == store.reclaim(group).deliveries


def test_rows_come_in_the_requested_order(store: Store, group: Group) -> None:
    for name in "ab":
        store.emit(name)
    claimed = store.run(group)
    store.complete(group, claimed[1])
    states = [row.state if row else None for row in store.deliveries.rows(group, ["b", "x", "a"])]
    assert [DeliveryState.PROCESSED, None, DeliveryState.RUNNING] == states
    assert [] == store.deliveries.rows(group, [])


def test_a_completion_that_was_begun_is_complete_when_its_reply_is_read(
    store: Store, group: Group
) -> None:
    for name in "ab":
        store.emit(name)
    one, other = (settled(claimed, Outcome.PROCESSED) for claimed in store.run(group))
    answers = [store.deliveries.begin_complete("w1", group, [said]) for said in (one, other)]
    assert [[], []] == [answer.result() for answer in answers]
    assert [one.entry] == store.deliveries.begin_complete("w1", group, [one]).result()
    assert [other.entry] == store.deliveries.complete("w1", group, [other])
    assert {DeliveryState.PROCESSED} == {state(store, group, name) for name in "ab"}
    assert [] == store.deliveries.begin_complete("w1", group, []).result()


def test_of_a_handler_that_was_removed_nothing_is_held(store: Store, group: Group) -> None:
    entry = store.emit("a")
    [claimed] = store.run(group)
    store.event_log.leave(DOMAIN, group.handler)
    said = [settled(claimed, Outcome.PROCESSED)]
    assert [entry] == store.deliveries.begin_complete("w1", group, said).result()


def test_a_repeated_completion_changes_nothing(store: Store, group: Group) -> None:
    store.emit("a")
    [claimed] = store.run(group)
    assert store.complete(group, claimed)
    assert not store.complete(group, claimed)
    assert not store.complete(group, claimed, Outcome.DEAD)
    one = settled(claimed, Outcome.PROCESSED)
    assert [one.entry, one.entry] == store.deliveries.complete("w1", group, [one, one])
    assert {"chunk 0": 1, "claimed": 1, "processed": 1} == store.deliveries.stats(group)
    assert 0 == store.deliveries.dead_count(DOMAIN)
    assert [] == store.deliveries.complete("w1", group, [])


@pytest.mark.parametrize("outcome", list(Outcome))
def test_an_outlived_attempt_changes_nothing(store: Store, group: Group, outcome: Outcome) -> None:
    entry = store.emit("a")
    [old] = store.run(group)
    [new] = store.claim(group, store.reclaim(group).deliveries)
    assert not store.complete(group, old, outcome)
    assert "running:w1" == store.owner(group, entry)
    assert DeliveryState.RUNNING == state(store, group, "a")
    assert store.complete(group, new)


def test_a_result_that_comes_after_the_lease_is_not_accepted(store: Store, group: Group) -> None:
    entry = store.emit("a")
    [claimed] = store.run(group)
    store.reclaim(group, "w2")
    assert not store.complete(group, claimed)
    assert "queued:w2" == store.owner(group, entry)


def test_many_are_completed_at_once_and_each_for_itself(store: Store, group: Group) -> None:
    for name in "abc":
        store.emit(name)
    a, b, c = store.run(group)
    store.complete(group, b)
    said = [settled(a, Outcome.PROCESSED), settled(b, Outcome.DEAD), settled(c, Outcome.SKIPPED)]
    assert [b.entry] == store.deliveries.complete("w1", group, said)
    assert ["processed", "processed", "skipped"] == [state(store, group, x) for x in "abc"]


# -- retries


def test_a_retry_is_taken_when_its_time_has_come_and_not_before(store: Store, group: Group) -> None:
    entry = store.emit("a")
    [claimed] = store.run(group)
    now = store.registry.now_ms()
    assert store.complete(group, claimed, Outcome.RETRY, delay_ms=HOUR_MS // 2)
    pending = store.deliveries.pending(group, entry)
    assert pending is not None and pending.due_ms is not None
    assert ("scheduled", 1) == (pending.owner, pending.attempts)
    assert abs(now + HOUR_MS // 2 - pending.due_ms) < 60_000
    assert (DeliveryState.SCHEDULED, 1) == (state(store, group, "a"), store.deliveries.due(group))
    taken = store.fetch(group)
    assert () == taken.deliveries == store.reclaim(group).deliveries
    assert pending.due_ms == taken.next_due_ms
    store.pass_hour()
    [delivery] = store.fetch(group).deliveries
    assert (entry, 1) == (delivery.entry, delivery.attempts)
    assert 0 == store.deliveries.due(group)
    assert [2] == [c.attempt for c in store.claim(group, [delivery])]


def test_what_is_due_first_is_taken_first(store: Store, group: Group) -> None:
    for name in "abc":
        store.emit(name)
    for claimed, delay in zip(store.run(group), (3000, 1000, 2000), strict=True):
        store.complete(group, claimed, Outcome.RETRY, delay_ms=delay)
    store.pass_hour()
    order = [d.entry for d in store.fetch(group).deliveries]
    a, b, c = sorted(order)
    assert [b, c, a] == order


def test_failures_are_kept_oldest_first(store: Store, group: Group) -> None:
    store.emit("a")
    assert [] == store.deliveries.failures(group, "a")
    for n in (1, 2):
        [claimed] = store.run(group)
        failure = Failure(attempt=n, at=n, error=f'E{n} "at":7\n', took=5, worker="w1")
        store.complete(group, claimed, Outcome.RETRY, failure=failure)
    assert [1, 2] == [f.attempt for f in store.deliveries.failures(group, "a")]
    assert ['E1 "at":7\n', 'E2 "at":7\n'] == [
        f.error for f in store.deliveries.failures(group, "a")
    ]


def test_a_retry_without_a_failure_adds_nothing_to_the_history(store: Store, group: Group) -> None:
    store.emit("a")
    for failure in (None, Failure(attempt=2, at=2, error="boom"), None):
        [claimed] = store.run(group)
        store.complete(group, claimed, Outcome.RETRY, failure=failure)
    assert [2] == [f.attempt for f in store.deliveries.failures(group, "a")]


def test_a_released_attempt_does_not_count(store: Store, group: Group) -> None:
    entry = store.emit("a")
    for _ in range(2):
        [claimed] = store.run(group)
        assert 1 == claimed.attempt
        assert store.complete(group, claimed, Outcome.REQUEUED)
    assert None is state(store, group, "a")
    pending = store.deliveries.pending(group, entry)
    assert pending is not None and ("scheduled", 0) == (pending.owner, pending.attempts)


def test_releasing_a_later_attempt_leaves_the_earlier_ones(store: Store, group: Group) -> None:
    store.emit("a")
    store.complete(group, store.run(group)[0], Outcome.RETRY)
    [second] = store.run(group)
    assert store.complete(group, second, Outcome.REQUEUED)
    [row] = store.deliveries.rows(group, ["a"])
    assert row is not None and (DeliveryState.SCHEDULED, 1) == (row.state, row.attempt)
    [again] = store.run(group)
    assert 2 == again.attempt


def test_what_turns_out_to_be_not_meant_for_the_handler_leaves_no_row(
    store: Store, group: Group
) -> None:
    entry = store.emit("a")
    store.complete(group, store.run(group)[0], Outcome.IGNORED)
    assert None is state(store, group, "a")
    assert None is store.deliveries.pending(group, entry)


# -- duplicates


def queued(store: Store, group: Group) -> None:
    store.fetch(group, limit=1)


def running(store: Store, group: Group) -> None:
    store.claim(group, store.fetch(group, limit=1).deliveries)


def finished(outcome: Outcome) -> Callable[[Store, Group], None]:
    def bring(store: Store, group: Group) -> None:
        [claimed] = store.claim(group, store.fetch(group, limit=1).deliveries)
        store.complete(group, claimed, outcome, delay_ms=HOUR_MS)

    bring.__name__ = outcome
    return bring


CAME_BEFORE = [running, *map(finished, (o for o in Outcome if o in "processed skipped retry dead"))]


@pytest.mark.parametrize("bring", CAME_BEFORE)
def test_a_second_entry_of_an_event_is_a_duplicate(
    store: Store, group: Group, bring: Callable[[Store, Group], None]
) -> None:
    first, second = store.emit("a"), store.emit("a")
    bring(store, group)
    [before] = store.deliveries.rows(group, ["a"])
    assert before is not None and first == before.entry
    [claimed] = store.run(group, "w2")
    result = ClaimResult.CONCURRENT if bring is running else ClaimResult.DUPLICATE
    assert (second, result) == (claimed.entry, claimed.result)
    assert store.complete(group, claimed, Outcome.IGNORED, "w2")
    assert [before] == store.deliveries.rows(group, ["a"])


def test_of_two_entries_of_an_event_that_are_queued_the_first_claimed_runs(
    store: Store, group: Group
) -> None:
    first, second = store.emit("a"), store.emit("a")
    deliveries = store.fetch(group).deliveries
    verdicts = [(c.entry, c.result) for c in store.claim(group, deliveries[::-1])]
    assert [(second, ClaimResult.RUN), (first, ClaimResult.CONCURRENT)] == verdicts


def test_a_duplicate_that_is_requeued_leaves_the_row_of_the_first(
    store: Store, group: Group
) -> None:
    first, second = store.emit("a"), store.emit("a")
    one, two = store.run(group)
    assert (first, second) == (one.entry, two.entry)
    store.complete(group, one)
    store.complete(group, two, Outcome.REQUEUED)
    assert DeliveryState.PROCESSED == state(store, group, "a")
    assert [ClaimResult.DUPLICATE] == [c.result for c in store.run(group)]


@pytest.mark.parametrize("outcome", [Outcome.SKIPPED, Outcome.DEAD, Outcome.IGNORED])
def test_a_duplicate_completed_at_the_same_time_leaves_no_trace(
    store: Store, group: Group, outcome: Outcome
) -> None:
    store.emit("a")
    store.complete(group, store.run(group)[0])
    second = store.emit("a")
    store.fetch(group)
    assert [] == store.deliveries.skip("w1", group, [Completion(second, "a", 0, outcome)])
    assert DeliveryState.PROCESSED == state(store, group, "a")
    assert 0 == store.deliveries.dead_count(DOMAIN)
    assert None is store.deliveries.pending(group, second)


def test_the_duplicate_runs_where_the_first_vanished_with_its_group(
    store: Store, group: Group
) -> None:
    store.emit("a")
    store.run(group)
    store.event_log.leave(DOMAIN, group.handler)
    store.event_log.join(DOMAIN, group.handler, "$")
    store.emit("a")
    assert [ClaimResult.RUN] == [c.result for c in store.run(group)]


def test_the_same_event_is_no_duplicate_for_another_handler(
    store: Store, group: Group, ordered: Group
) -> None:
    store.emit("a")
    assert [ClaimResult.RUN] == [c.result for c in store.run(group)]
    assert [ClaimResult.RUN] == [c.result for c in store.run(ordered)]


def test_an_event_id_is_new_again_after_the_window(make_store: Callable[..., Store]) -> None:
    store, group = make_store(dedup_window=1), Group(DOMAIN, "billing.charge")
    store.event_log.join(DOMAIN, group.handler, "0")
    store.emit("a")
    store.complete(group, store.run(group)[0])
    store.pass_ms(2100)
    assert None is state(store, group, "a")
    store.emit("a")
    assert [ClaimResult.RUN] == [c.result for c in store.run(group)]


# -- statistics


def test_statistics_count_what_became_of_the_deliveries(store: Store, group: Group) -> None:
    assert {} == store.deliveries.stats(group)
    for name in "abcdefg":
        store.emit(name)
    outcomes = [one for one in Outcome if one is not Outcome.COALESCED]  # that is of no run
    said = [settled(c, o, took_us=10) for c, o in zip(store.run(group), outcomes, strict=True)]
    store.deliveries.complete("w1", group, said, mean_us=12)
    expected = {outcome.value: 1 for outcome in outcomes} | {"busy_us": 70, "mean_us": 12}
    expected |= {"chunk 3": 1, "claimed": 7, "dead": 2}  # what is refused is dead
    del expected["refused"]
    assert expected == store.deliveries.stats(group)
    assert 12 == store.fetch(group).mean_us


def test_the_run_time_of_deliveries_that_were_lost_is_not_noted(store: Store, group: Group) -> None:
    """Their process was frozen, perhaps: the handler is not as slow as that."""
    store.emit("a")
    [claimed] = store.run(group)
    store.reclaim(group, "w2")
    assert store.deliveries.complete(
        "w1", group, [settled(claimed, Outcome.PROCESSED)], mean_us=4_500_000
    )
    assert 0 == store.fetch(group).mean_us


def test_forgetting_a_handler_that_left_leaves_its_dead_letters(store: Store, group: Group) -> None:
    for name in "ab":
        store.emit(name)
    a, b = store.run(group)
    store.complete(group, a, Outcome.DEAD)
    store.complete(group, b, Outcome.RETRY)
    store.event_log.leave(DOMAIN, group.handler)
    store.deliveries.forget(group)
    assert [None, None] == store.deliveries.rows(group, ["a", "b"])
    assert [] == store.deliveries.failures(group, "a")
    assert {} == store.deliveries.stats(group)
    assert 0 == store.deliveries.due(group)
    assert 1 == store.deliveries.dead_count(DOMAIN)


@pytest.mark.parametrize("outcome", [Outcome.PROCESSED, Outcome.SKIPPED, Outcome.DEAD])
def test_what_is_completed_is_not_run_again_where_its_group_was_lost(
    store: Store, group: Group, outcome: Outcome
) -> None:
    """A group that was destroyed and joined again gets the past; the matrix has it."""
    entry = store.emit("a")
    [claimed] = store.run(group)
    store.complete(group, claimed, outcome)
    before = store.deliveries.rows(group, ["a"])
    store.event_log.leave(group.domain, group.handler)
    store.event_log.join(group.domain, group.handler, "0")
    [again] = store.run(group)
    assert (entry, ClaimResult.DUPLICATE) == (again.entry, again.result)
    store.complete(group, again, Outcome.IGNORED)
    assert before == store.deliveries.rows(group, ["a"])


def test_a_chunk_of_thousands_is_claimed_and_finished_at_once(store: Store, group: Group) -> None:
    ids = [f"e{n}" for n in range(3000)]
    store.event_log.append_many([(group.domain, body(one), EntryKind.FOREIGN, 0) for one in ids])
    claimed = store.claim(group, store.fetch(group, limit=5000, max_new=5000).deliveries)
    assert len(claimed) == 3000
    done = [settled(one, Outcome.PROCESSED) for one in claimed]
    assert store.deliveries.complete("w1", group, done) == []
    assert store.deliveries.complete("w1", group, done) == [one.entry for one in claimed]
    rows = store.deliveries.rows(group, ids)
    assert {row.state for row in rows if row} == {DeliveryState.PROCESSED} and None not in rows


def test_a_queued_entry_that_is_requeued_while_a_copy_of_it_runs_is_not_ignored(
    store: Store, group: Group
) -> None:
    """The copy may wait for it: each would be ignored because of the other."""
    first, copy = store.emit("a"), store.emit("a")
    taken = {delivery.entry: delivery for delivery in store.fetch(group).deliveries}
    [running] = store.claim(group, [taken[copy]])
    requeued = Completion(first, "a", taken[first].attempts, Outcome.REQUEUED)
    assert [] == store.deliveries.skip("w1", group, [requeued])
    pending = store.deliveries.pending(group, first)
    assert pending is not None and DeliveryState.SCHEDULED == pending.owner
    store.complete(group, running, Outcome.IGNORED)
    assert [(first, ClaimResult.RUN)] == [(one.entry, one.result) for one in store.run(group)]


def test_of_two_entries_of_an_event_skipped_together_the_second_is_ignored(
    store: Store, group: Group
) -> None:
    first, _ = store.emit("a"), store.emit("a")
    taken = store.fetch(group).deliveries
    store.deliveries.skip(
        "w1", group, [Completion(d.entry, "a", 0, Outcome.SKIPPED) for d in taken]
    )
    [row] = store.deliveries.rows(group, ["a"])
    assert row is not None and row.entry == first
    assert store.deliveries.stats(group) == {"skipped": 1, "ignored": 1}


# -- events that are refused


def test_a_refused_event_is_dead_and_claims_no_id(store: Store, group: Group) -> None:
    """Anyone who may write to the log can write an event with the id of another."""
    forged, true = store.emit("a"), store.emit("a")
    one, two = store.run(group)
    assert [ClaimResult.RUN, ClaimResult.CONCURRENT] == [one.result, two.result]
    store.complete(group, two, Outcome.REQUEUED)
    assert store.complete(group, one, Outcome.REFUSED)
    assert [None] == store.deliveries.rows(group, ["a"])
    assert () == store.deliveries.history(group, "a").failures
    [letter] = store.deliveries.dead(DOMAIN)
    assert (forged, "a", "boom", 1) == (
        letter.entry, letter.event_key, letter.error, letter.attempts
    )  # fmt: skip
    [again] = store.run(group)
    assert (true, ClaimResult.RUN) == (again.entry, again.result)
    assert store.complete(group, again)
    assert DeliveryState.PROCESSED == state(store, group, "a")
    assert 1 == store.deliveries.stats(group)["dead"]


def test_the_row_of_a_refused_event_is_that_of_its_entry(store: Store, group: Group) -> None:
    forged = store.emit("a")
    store.complete(group, store.run(group)[0], Outcome.REFUSED)
    [row] = store.deliveries.rows(group, [refused_field(forged)])
    assert row is not None
    assert (DeliveryState.DEAD, forged, 1) == (row.state, row.entry, row.attempt)
    failures = store.deliveries.history(group, refused_field(forged)).failures
    assert ["boom"] == [one.error for one in failures]


@pytest.mark.parametrize("by", ["redrive", "replay"])
def test_a_refused_event_that_runs_again_leaves_the_row_of_the_true_one(
    store: Store, group: Group, by: str
) -> None:
    forged = store.emit("a")
    store.complete(group, store.run(group)[0], Outcome.REFUSED)
    store.emit("a")
    store.complete(group, store.run(group)[0])
    [letter] = store.deliveries.dead(DOMAIN)
    if by == "redrive":
        assert 1 == store.deliveries.redrive(group, [(letter, letter.event)])
    else:
        assert 1 == store.deliveries.replay(group, [(forged, "a")])
    assert 0 == store.deliveries.dead_count(DOMAIN)
    assert DeliveryState.PROCESSED == state(store, group, "a")
    assert [None] == store.deliveries.rows(group, [refused_field(forged)])
    [again] = store.run(group)
    assert (forged, ClaimResult.DUPLICATE) == (again.entry, again.result)


def test_a_refused_event_whose_key_is_there_now_is_redriven_and_runs(
    store: Store, group: Group
) -> None:
    store.emit("a")
    store.complete(group, store.run(group)[0], Outcome.REFUSED)
    [letter] = store.deliveries.dead(DOMAIN)
    assert 1 == store.deliveries.redrive(group, [(letter, letter.event)])
    [again] = store.run(group)
    assert (ClaimResult.RUN, 1) == (again.result, again.attempt)
    store.complete(group, again)
    assert DeliveryState.PROCESSED == state(store, group, "a")
