"""What becomes of a delivery once its handler ran: the matrix, retries, duplicates, statistics."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from celeriac.delivery import Failure, Lane, Outcome, Place, Settled, Verdict, refused_field
from celeriac.event_log import EntryKind
from tests.contract.store import DOMAIN, HOUR_MS, Store, body, settled


def state(store: Store, lane: Lane, event_id: str) -> str | None:
    [row] = store.ledger.rows(lane, [event_id])
    return row.state if row else None


def test_a_processed_event_has_its_row_and_is_pending_no_more(store: Store, lane: Lane) -> None:
    entry = store.emit("a")
    [claimed] = store.run(lane)
    assert Place.RUNNING == state(store, lane, "a")
    assert store.finish(lane, claimed, took_us=1500)
    [row] = store.ledger.rows(lane, ["a"])
    assert row is not None
    assert (Place.PROCESSED, entry, 1, 1500) == (row.state, row.entry, row.attempt, row.took_us)
    assert abs(row.at_ms - store.registry.now_ms()) < 60_000
    assert None is store.ledger.pending(lane, entry)
    assert () == store.sweep(lane).deliveries


def test_rows_come_in_the_order_asked(store: Store, lane: Lane) -> None:
    for name in "ab":
        store.emit(name)
    claimed = store.run(lane)
    store.finish(lane, claimed[1])
    states = [row.state if row else None for row in store.ledger.rows(lane, ["b", "x", "a"])]
    assert [Place.PROCESSED, None, Place.RUNNING] == states
    assert [] == store.ledger.rows(lane, [])


def test_what_was_begun_to_be_said_is_known_when_it_is_answered(store: Store, lane: Lane) -> None:
    for name in "ab":
        store.emit(name)
    one, other = (settled(claimed, Outcome.PROCESSED) for claimed in store.run(lane))
    answers = [store.ledger.begin_finish("w1", lane, [said]) for said in (one, other)]
    assert [[], []] == [answer() for answer in answers]
    assert [one.entry] == store.ledger.begin_finish("w1", lane, [one])()
    assert [other.entry] == store.ledger.finish("w1", lane, [other])
    assert {Place.PROCESSED} == {state(store, lane, name) for name in "ab"}
    assert [] == store.ledger.begin_finish("w1", lane, [])()


def test_of_a_handler_that_was_removed_nothing_is_held(store: Store, lane: Lane) -> None:
    entry = store.emit("a")
    [claimed] = store.run(lane)
    store.log.leave(DOMAIN, lane.handler)
    said = [settled(claimed, Outcome.PROCESSED)]
    assert [entry] == store.ledger.begin_finish("w1", lane, said)()


def test_saying_it_twice_changes_nothing(store: Store, lane: Lane) -> None:
    store.emit("a")
    [claimed] = store.run(lane)
    assert store.finish(lane, claimed)
    assert not store.finish(lane, claimed)
    assert not store.finish(lane, claimed, Outcome.DEAD)
    one = settled(claimed, Outcome.PROCESSED)
    assert [one.entry, one.entry] == store.ledger.finish("w1", lane, [one, one])
    assert {"chunk 0": 1, "claimed": 1, "processed": 1} == store.ledger.stats(lane)
    assert 0 == store.ledger.dead_count(DOMAIN)
    assert [] == store.ledger.finish("w1", lane, [])


@pytest.mark.parametrize("outcome", list(Outcome))
def test_an_outlived_attempt_changes_nothing(store: Store, lane: Lane, outcome: Outcome) -> None:
    entry = store.emit("a")
    [old] = store.run(lane)
    [new] = store.claim(lane, store.sweep(lane).deliveries)
    assert not store.finish(lane, old, outcome)
    assert "running:w1" == store.owner(lane, entry)
    assert Place.RUNNING == state(store, lane, "a")
    assert store.finish(lane, new)


def test_a_result_that_comes_after_the_lease_is_not_accepted(store: Store, lane: Lane) -> None:
    entry = store.emit("a")
    [claimed] = store.run(lane)
    store.sweep(lane, "w2")
    assert not store.finish(lane, claimed)
    assert "queued:w2" == store.owner(lane, entry)


def test_many_are_settled_at_once_and_each_for_itself(store: Store, lane: Lane) -> None:
    for name in "abc":
        store.emit(name)
    a, b, c = store.run(lane)
    store.finish(lane, b)
    said = [settled(a, Outcome.PROCESSED), settled(b, Outcome.DEAD), settled(c, Outcome.SKIPPED)]
    assert [b.entry] == store.ledger.finish("w1", lane, said)
    assert ["processed", "processed", "skipped"] == [state(store, lane, x) for x in "abc"]


# -- retries


def test_a_retry_is_taken_when_its_time_has_come_and_not_before(store: Store, lane: Lane) -> None:
    entry = store.emit("a")
    [claimed] = store.run(lane)
    now = store.registry.now_ms()
    assert store.finish(lane, claimed, Outcome.RETRY, delay_ms=HOUR_MS // 2)
    pending = store.ledger.pending(lane, entry)
    assert pending is not None and pending.due_ms is not None
    assert ("due", 1) == (pending.owner, pending.attempts)
    assert abs(now + HOUR_MS // 2 - pending.due_ms) < 60_000
    assert (Place.DUE, 1) == (state(store, lane, "a"), store.ledger.due(lane))
    taken = store.take(lane)
    assert () == taken.deliveries == store.sweep(lane).deliveries
    assert pending.due_ms == taken.next_due_ms
    store.pass_hour()
    [delivery] = store.take(lane).deliveries
    assert (entry, 1) == (delivery.entry, delivery.attempts)
    assert 0 == store.ledger.due(lane)
    assert [2] == [c.attempt for c in store.claim(lane, [delivery])]


def test_what_is_due_first_is_taken_first(store: Store, lane: Lane) -> None:
    for name in "abc":
        store.emit(name)
    for claimed, delay in zip(store.run(lane), (3000, 1000, 2000), strict=True):
        store.finish(lane, claimed, Outcome.RETRY, delay_ms=delay)
    store.pass_hour()
    order = [d.entry for d in store.take(lane).deliveries]
    a, b, c = sorted(order)
    assert [b, c, a] == order


def test_failures_are_kept_oldest_first(store: Store, lane: Lane) -> None:
    store.emit("a")
    assert [] == store.ledger.failures(lane, "a")
    for n in (1, 2):
        [claimed] = store.run(lane)
        failure = Failure(attempt=n, at=n, error=f'E{n} "at":7\n', took=5, worker="w1")
        store.finish(lane, claimed, Outcome.RETRY, failure=failure)
    assert [1, 2] == [f.attempt for f in store.ledger.failures(lane, "a")]
    assert ['E1 "at":7\n', 'E2 "at":7\n'] == [f.error for f in store.ledger.failures(lane, "a")]


def test_a_retry_without_a_failure_adds_nothing_to_the_history(store: Store, lane: Lane) -> None:
    store.emit("a")
    for failure in (None, Failure(attempt=2, at=2, error="boom"), None):
        [claimed] = store.run(lane)
        store.finish(lane, claimed, Outcome.RETRY, failure=failure)
    assert [2] == [f.attempt for f in store.ledger.failures(lane, "a")]


def test_a_released_attempt_does_not_count(store: Store, lane: Lane) -> None:
    entry = store.emit("a")
    for _ in range(2):
        [claimed] = store.run(lane)
        assert 1 == claimed.attempt
        assert store.finish(lane, claimed, Outcome.RELEASED)
    assert None is state(store, lane, "a")
    pending = store.ledger.pending(lane, entry)
    assert pending is not None and ("due", 0) == (pending.owner, pending.attempts)


def test_releasing_a_later_attempt_leaves_the_earlier_ones(store: Store, lane: Lane) -> None:
    store.emit("a")
    store.finish(lane, store.run(lane)[0], Outcome.RETRY)
    [second] = store.run(lane)
    assert store.finish(lane, second, Outcome.RELEASED)
    [row] = store.ledger.rows(lane, ["a"])
    assert row is not None and (Place.DUE, 1) == (row.state, row.attempt)
    [again] = store.run(lane)
    assert 2 == again.attempt


def test_what_turns_out_to_be_not_meant_for_the_handler_leaves_no_row(
    store: Store, lane: Lane
) -> None:
    entry = store.emit("a")
    store.finish(lane, store.run(lane)[0], Outcome.IGNORED)
    assert None is state(store, lane, "a")
    assert None is store.ledger.pending(lane, entry)


# -- duplicates


def queued(store: Store, lane: Lane) -> None:
    store.take(lane, limit=1)


def running(store: Store, lane: Lane) -> None:
    store.claim(lane, store.take(lane, limit=1).deliveries)


def finished(outcome: Outcome) -> Callable[[Store, Lane], None]:
    def bring(store: Store, lane: Lane) -> None:
        [claimed] = store.claim(lane, store.take(lane, limit=1).deliveries)
        store.finish(lane, claimed, outcome, delay_ms=HOUR_MS)

    bring.__name__ = outcome
    return bring


CAME_BEFORE = [running, *map(finished, (o for o in Outcome if o in "processed skipped retry dead"))]


@pytest.mark.parametrize("bring", CAME_BEFORE)
def test_a_second_entry_of_an_event_is_a_duplicate(
    store: Store, lane: Lane, bring: Callable[[Store, Lane], None]
) -> None:
    first, second = store.emit("a"), store.emit("a")
    bring(store, lane)
    [before] = store.ledger.rows(lane, ["a"])
    assert before is not None and first == before.entry
    [claimed] = store.run(lane, "w2")
    verdict = Verdict.CONCURRENT if bring is running else Verdict.DUPLICATE
    assert (second, verdict) == (claimed.entry, claimed.verdict)
    assert store.finish(lane, claimed, Outcome.IGNORED, "w2")
    assert [before] == store.ledger.rows(lane, ["a"])


def test_of_two_entries_of_an_event_that_are_queued_the_first_claimed_runs(
    store: Store, lane: Lane
) -> None:
    first, second = store.emit("a"), store.emit("a")
    deliveries = store.take(lane).deliveries
    verdicts = [(c.entry, c.verdict) for c in store.claim(lane, deliveries[::-1])]
    assert [(second, Verdict.RUN), (first, Verdict.CONCURRENT)] == verdicts


def test_a_duplicate_that_is_given_back_leaves_the_row_of_the_first(
    store: Store, lane: Lane
) -> None:
    first, second = store.emit("a"), store.emit("a")
    one, two = store.run(lane)
    assert (first, second) == (one.entry, two.entry)
    store.finish(lane, one)
    store.finish(lane, two, Outcome.RELEASED)
    assert Place.PROCESSED == state(store, lane, "a")
    assert [Verdict.DUPLICATE] == [c.verdict for c in store.run(lane)]


@pytest.mark.parametrize("outcome", [Outcome.SKIPPED, Outcome.DEAD, Outcome.IGNORED])
def test_a_duplicate_settled_in_passing_leaves_no_trace(
    store: Store, lane: Lane, outcome: Outcome
) -> None:
    store.emit("a")
    store.finish(lane, store.run(lane)[0])
    second = store.emit("a")
    store.take(lane)
    assert [] == store.ledger.skip("w1", lane, [Settled(second, "a", 0, outcome)])
    assert Place.PROCESSED == state(store, lane, "a")
    assert 0 == store.ledger.dead_count(DOMAIN)
    assert None is store.ledger.pending(lane, second)


def test_the_duplicate_runs_where_the_first_vanished_with_its_group(
    store: Store, lane: Lane
) -> None:
    store.emit("a")
    store.run(lane)
    store.log.leave(DOMAIN, lane.handler)
    store.log.join(DOMAIN, lane.handler, "$")
    store.emit("a")
    assert [Verdict.RUN] == [c.verdict for c in store.run(lane)]


def test_the_same_event_is_no_duplicate_for_another_handler(
    store: Store, lane: Lane, ordered: Lane
) -> None:
    store.emit("a")
    assert [Verdict.RUN] == [c.verdict for c in store.run(lane)]
    assert [Verdict.RUN] == [c.verdict for c in store.run(ordered)]


def test_an_event_id_is_new_again_after_the_window(make_store: Callable[..., Store]) -> None:
    store, lane = make_store(dedup_window=1), Lane(DOMAIN, "billing.charge")
    store.log.join(DOMAIN, lane.handler, "0")
    store.emit("a")
    store.finish(lane, store.run(lane)[0])
    store.pass_ms(2100)
    assert None is state(store, lane, "a")
    store.emit("a")
    assert [Verdict.RUN] == [c.verdict for c in store.run(lane)]


# -- statistics


def test_statistics_count_what_became_of_the_deliveries(store: Store, lane: Lane) -> None:
    assert {} == store.ledger.stats(lane)
    for name in "abcdefg":
        store.emit(name)
    outcomes = [one for one in Outcome if one is not Outcome.COALESCED]  # that is of no run
    said = [settled(c, o, took_us=10) for c, o in zip(store.run(lane), outcomes, strict=True)]
    store.ledger.finish("w1", lane, said, mean_us=12)
    expected = {outcome.value: 1 for outcome in outcomes} | {"busy_us": 70, "mean_us": 12}
    expected |= {"chunk 3": 1, "claimed": 7, "dead": 2}  # what is refused is dead
    del expected["refused"]
    assert expected == store.ledger.stats(lane)
    assert 12 == store.take(lane).mean_us


def test_the_run_time_of_deliveries_that_were_lost_is_not_noted(store: Store, lane: Lane) -> None:
    """Their process was frozen, perhaps: the handler is not as slow as that."""
    store.emit("a")
    [claimed] = store.run(lane)
    store.sweep(lane, "w2")
    assert store.ledger.finish("w1", lane, [settled(claimed, Outcome.PROCESSED)], mean_us=4_500_000)
    assert 0 == store.take(lane).mean_us


def test_forgetting_a_handler_that_left_leaves_its_dead_letters(store: Store, lane: Lane) -> None:
    for name in "ab":
        store.emit(name)
    a, b = store.run(lane)
    store.finish(lane, a, Outcome.DEAD)
    store.finish(lane, b, Outcome.RETRY)
    store.log.leave(DOMAIN, lane.handler)
    store.ledger.forget(lane)
    assert [None, None] == store.ledger.rows(lane, ["a", "b"])
    assert [] == store.ledger.failures(lane, "a")
    assert {} == store.ledger.stats(lane)
    assert 0 == store.ledger.due(lane)
    assert 1 == store.ledger.dead_count(DOMAIN)


@pytest.mark.parametrize("outcome", [Outcome.PROCESSED, Outcome.SKIPPED, Outcome.DEAD])
def test_what_is_settled_is_not_run_again_where_its_group_was_lost(
    store: Store, lane: Lane, outcome: Outcome
) -> None:
    """A group that was destroyed and joined anew is given the past; the matrix knows it."""
    entry = store.emit("a")
    [claimed] = store.run(lane)
    store.finish(lane, claimed, outcome)
    before = store.ledger.rows(lane, ["a"])
    store.log.leave(lane.domain, lane.handler)
    store.log.join(lane.domain, lane.handler, "0")
    [again] = store.run(lane)
    assert (entry, Verdict.DUPLICATE) == (again.entry, again.verdict)
    store.finish(lane, again, Outcome.IGNORED)
    assert before == store.ledger.rows(lane, ["a"])


def test_a_chunk_of_thousands_is_claimed_and_finished_at_once(store: Store, lane: Lane) -> None:
    ids = [f"e{n}" for n in range(3000)]
    store.log.append_many([(lane.domain, body(one), EntryKind.FOREIGN, 0) for one in ids])
    claimed = store.claim(lane, store.take(lane, limit=5000, most_new=5000).deliveries)
    assert len(claimed) == 3000
    done = [settled(one, Outcome.PROCESSED) for one in claimed]
    assert store.ledger.finish("w1", lane, done) == []
    assert store.ledger.finish("w1", lane, done) == [one.entry for one in claimed]
    rows = store.ledger.rows(lane, ids)
    assert {row.state for row in rows if row} == {Place.PROCESSED} and None not in rows


def test_of_two_entries_of_an_event_skipped_together_the_second_is_ignored(
    store: Store, lane: Lane
) -> None:
    first, _ = store.emit("a"), store.emit("a")
    taken = store.take(lane).deliveries
    store.ledger.skip("w1", lane, [Settled(d.entry, "a", 0, Outcome.SKIPPED) for d in taken])
    [row] = store.ledger.rows(lane, ["a"])
    assert row is not None and row.entry == first
    assert store.ledger.stats(lane) == {"skipped": 1, "ignored": 1}


# -- events that are refused


def test_a_refused_event_is_dead_and_claims_no_id(store: Store, lane: Lane) -> None:
    """Anyone who may write to the log can write an event with the id of another."""
    forged, true = store.emit("a"), store.emit("a")
    one, two = store.run(lane)
    assert [Verdict.RUN, Verdict.CONCURRENT] == [one.verdict, two.verdict]
    store.finish(lane, two, Outcome.RELEASED)
    assert store.finish(lane, one, Outcome.REFUSED)
    assert [None] == store.ledger.rows(lane, ["a"])
    assert () == store.ledger.history(lane, "a").failures
    [letter] = store.ledger.dead(DOMAIN)
    assert (forged, "a", "boom", 1) == (
        letter.entry, letter.event_key, letter.error, letter.attempts
    )  # fmt: skip
    [again] = store.run(lane)
    assert (true, Verdict.RUN) == (again.entry, again.verdict)
    assert store.finish(lane, again)
    assert Place.PROCESSED == state(store, lane, "a")
    assert 1 == store.ledger.stats(lane)["dead"]


def test_the_row_of_a_refused_event_is_that_of_its_entry(store: Store, lane: Lane) -> None:
    forged = store.emit("a")
    store.finish(lane, store.run(lane)[0], Outcome.REFUSED)
    [row] = store.ledger.rows(lane, [refused_field(forged)])
    assert row is not None
    assert (Place.DEAD, forged, 1) == (row.state, row.entry, row.attempt)
    failures = store.ledger.history(lane, refused_field(forged)).failures
    assert ["boom"] == [one.error for one in failures]


@pytest.mark.parametrize("by", ["redrive", "schedule"])
def test_a_refused_event_that_runs_again_leaves_the_row_of_the_true_one(
    store: Store, lane: Lane, by: str
) -> None:
    forged = store.emit("a")
    store.finish(lane, store.run(lane)[0], Outcome.REFUSED)
    store.emit("a")
    store.finish(lane, store.run(lane)[0])
    [letter] = store.ledger.dead(DOMAIN)
    if by == "redrive":
        assert 1 == store.ledger.redrive(lane, [(letter, letter.event)])
    else:
        assert 1 == store.ledger.schedule(lane, [(forged, "a")])
    assert 0 == store.ledger.dead_count(DOMAIN)
    assert Place.PROCESSED == state(store, lane, "a")
    assert [None] == store.ledger.rows(lane, [refused_field(forged)])
    [again] = store.run(lane)
    assert (forged, Verdict.DUPLICATE) == (again.entry, again.verdict)


def test_a_refused_event_whose_key_is_there_now_is_redriven_and_runs(
    store: Store, lane: Lane
) -> None:
    store.emit("a")
    store.finish(lane, store.run(lane)[0], Outcome.REFUSED)
    [letter] = store.ledger.dead(DOMAIN)
    assert 1 == store.ledger.redrive(lane, [(letter, letter.event)])
    [again] = store.run(lane)
    assert (Verdict.RUN, 1) == (again.verdict, again.attempt)
    store.finish(lane, again)
    assert Place.PROCESSED == state(store, lane, "a")
