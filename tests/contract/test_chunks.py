"""Open chunks: fetched, begun, completed, requeued; and what trimming and groups make of them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence

import pytest

from celeriac.delivery import MAX_LOST_RUNS, Lane, Outcome, Place, Settled, Verdict
from celeriac.delivery.chunk_store import Completion, Fetched, FetchRequest
from celeriac.delivery.record import Failure
from celeriac.delivery.run_record import RunOutcome, pack_runs, run_code
from celeriac.event_log import Entry
from tests.contract.conftest import MakeStore
from tests.contract.store import DOMAIN, Store, key_of

_ids = itertools.count()


def fetch(
    store: Store, lane: Lane, count: int = 100, worker: str = "w1", *, running: bool = True
) -> tuple[str, Fetched]:
    chunk = f"chunk{next(_ids)}"
    [fetched] = store.chunks.fetch(worker, [FetchRequest(lane, chunk, count, running)])
    return chunk, fetched


def completion(entries: Sequence[Entry], took_us: int = 1000, **more: object) -> Completion:
    """Of entries that were processed, each in `took_us`."""
    ids = [entry.id for entry in entries]
    codes = [run_code(RunOutcome.PROCESSED, took_us)] * len(ids)
    return Completion(ids[-1], len(ids), pack_runs("w1", 1234, ids, codes), **more)  # type: ignore[arg-type]


def held(store: Store, lane: Lane) -> int:
    [group] = [one for one in store.log.groups(DOMAIN) if one.handler == lane.handler]
    return group.pending


def failed(entry: Entry, outcome: Outcome = Outcome.RETRY) -> Settled:
    failure = Failure(attempt=1, at=1001, error="boom")
    key = key_of(entry.body)
    return Settled(entry.id, key, 1, outcome, failure=failure, type="order.placed")


def test_a_chunk_has_the_next_waiting_entries_and_no_other_has_them(
    store: Store, lane: Lane
) -> None:
    entries = [store.emit(name) for name in "abcde"]
    _, first = fetch(store, lane, 2)
    _, second = fetch(store, lane, 2, "w2")
    _, third = fetch(store, lane, 2)
    assert entries == [one.id for fetched in (first, second, third) for one in fetched.entries]
    assert "a" == json.loads(first.entries[0].body or b"")["id"]
    assert () == fetch(store, lane)[1].entries
    assert () == store.take(lane).deliveries
    assert 5 == held(store, lane)


def test_what_waits_is_fetched_or_taken_and_never_both(store: Store, lane: Lane) -> None:
    entries = [store.emit(name) for name in "abc"]
    [taken] = store.take(lane, limit=1).deliveries
    _, fetched = fetch(store, lane, 1)
    [other] = store.take(lane, "w2").deliveries
    assert entries == [taken.entry, fetched.entries[0].id, other.entry]


def test_open_chunks_are_listed_in_the_order_of_the_log(store: Store, lane: Lane) -> None:
    entries = [store.emit(name) for name in "abc"]
    assert [] == store.chunks.open_chunks(lane)
    one, _ = fetch(store, lane, 2, running=False)
    other, _ = fetch(store, lane, 2, "w2")
    first, second = store.chunks.open_chunks(lane)
    assert (one, other) == (first.id, second.id)
    assert (entries[1], 2, "queued:w1") == (first.upto, first.count, first.owner)
    assert (entries[1], entries[2]) == (second.after, second.upto)
    assert (1, "running:w2") == (second.count, second.owner)
    [group] = store.log.groups(DOMAIN)
    assert {"queued:w1": 2, "running:w2": 1} == group.holders
    assert group.oldest_pending is not None
    assert group.oldest_pending <= entries[0]


def test_of_two_that_begin_a_chunk_one_gets_its_entries(store: Store, lane: Lane) -> None:
    entries = [store.emit(name) for name in "ab"]
    chunk, _ = fetch(store, lane, running=False)
    begun = store.chunks.begin("w2", lane, chunk)
    assert begun is not None
    assert entries == [entry.id for entry in begun]
    assert None is store.chunks.begin("w1", lane, chunk)
    assert 0 == store.chunks.requeue("w1", lane, chunk)
    assert None is store.chunks.begin("w1", lane, "unknown")


def test_a_queued_chunk_is_completed_only_by_the_worker_that_queued_it(
    store: Store, lane: Lane
) -> None:
    """Of what its handler does not want, a dispatcher reports without a task."""
    entry = store.emit("a")
    chunk, fetched = fetch(store, lane, running=False)
    done = completion(fetched.entries)
    assert not store.chunks.complete("w2", lane, chunk, done)
    failed_too = Completion(entry, 1, exceptions=[failed(fetched.entries[0])])
    assert store.chunks.complete("w1", lane, chunk, failed_too)
    assert store.owner(lane, entry) == Place.DUE
    assert None is store.chunks.begin("w2", lane, chunk)


def test_a_completed_chunk_is_gone_and_says_how_each_entry_ran(store: Store, lane: Lane) -> None:
    entries = [store.emit(name) for name in "abc"]
    chunk, fetched = fetch(store, lane)
    done = completion(fetched.entries, 1500, counts={"processed": 3, "busy_us": 4500}, mean_us=1500)
    assert store.chunks.complete("w1", lane, chunk, done)
    assert [] == store.chunks.open_chunks(lane)
    assert 0 == held(store, lane)
    runs = store.chunks.runs(lane, [*entries, "1-1"])
    assert None is runs[3]
    assert entries == [run.entry for run in runs if run]
    for run in runs[:3]:
        assert run is not None
        assert (RunOutcome.PROCESSED, "w1", 1234) == (run.outcome, run.worker, run.at_ms)
        assert abs(run.took_us - 1500) <= 1500 / 250
    stats = store.ledger.stats(lane)
    assert (3, 4500, 1500) == (stats["processed"], stats["busy_us"], stats["mean_us"])


def test_progress_moves_the_beginning_of_a_chunk(store: Store, lane: Lane) -> None:
    entries = [store.emit(name) for name in "abc"]
    chunk, fetched = fetch(store, lane)
    assert store.chunks.complete("w1", lane, chunk, completion(fetched.entries[:2]))
    [open_chunk] = store.chunks.open_chunks(lane)
    assert (entries[1], entries[2], 1) == (open_chunk.after, open_chunk.upto, open_chunk.count)
    assert 1 == store.chunks.requeue("w1", lane, chunk)
    [delivery] = store.take(lane).deliveries
    assert (entries[2], 0) == (delivery.entry, delivery.attempts)


def test_a_completion_that_is_told_twice_counts_once(store: Store, lane: Lane) -> None:
    for name in "abc":
        store.emit(name)
    chunk, fetched = fetch(store, lane)
    done = completion(fetched.entries[:2], counts={"processed": 2})
    assert store.chunks.complete("w1", lane, chunk, done)
    assert store.chunks.complete("w1", lane, chunk, done)
    assert 2 == store.ledger.stats(lane)["processed"]
    last = completion(fetched.entries[2:])
    assert store.chunks.complete("w1", lane, chunk, last)
    assert not store.chunks.complete("w1", lane, chunk, last)


def test_a_late_owner_is_fenced_off(store: Store, lane: Lane) -> None:
    entries = [store.emit(name) for name in "ab"]
    chunk, fetched = fetch(store, lane)
    with store.leases_over():
        assert 2 == store.chunks.reclaim([lane])
    assert not store.chunks.complete("w1", lane, chunk, completion(fetched.entries))
    assert [chunk] == store.chunks.renew("w1", lane, [chunk])
    assert 0 == store.chunks.requeue("w1", lane, chunk)
    assert [None, None] == store.chunks.runs(lane, entries)
    assert [(e, 1) for e in entries] == [(d.entry, d.attempts) for d in store.take(lane).deliveries]


def test_entries_of_a_running_chunk_lose_a_run_with_its_lease(store: Store, lane: Lane) -> None:
    """Nothing tells which of them was under way when their worker died."""
    running, queued = store.emit("a"), store.emit("b")
    fetch(store, lane, 1)
    fetch(store, lane, 1, running=False)
    with store.leases_over():
        assert 2 == store.chunks.reclaim([lane])
    stats = store.ledger.stats(lane)
    assert (1, 1) == (stats["lost running"], stats["lost queued"])
    [one, other] = store.take(lane).deliveries
    assert [(running, 1), (queued, 0)] == [(d.entry, d.attempts) for d in (one, other)]
    [claimed] = store.claim(lane, [one])
    assert (2, 1, 1) == (claimed.attempt, claimed.lost_runs, claimed.counted)
    [claimed] = store.claim(lane, [other])
    assert (1, 0) == (claimed.attempt, claimed.lost_runs)


def test_a_chunk_counts_as_one_of_the_runs_that_poison_may_lose(store: Store, lane: Lane) -> None:
    store.emit("poison")
    fetch(store, lane)
    with store.leases_over():
        store.chunks.reclaim([lane])
    [claimed] = store.run(lane)
    for lost in range(2, MAX_LOST_RUNS + 1):
        assert Verdict.RUN is claimed.verdict
        [claimed] = store.claim(lane, store.sweep(lane).deliveries)
        assert lost == claimed.lost_runs
    assert Verdict.EXHAUSTED is claimed.verdict


def test_a_lease_that_is_valid_is_not_reclaimed(store: Store, lane: Lane) -> None:
    store.emit("a")
    fetch(store, lane)
    assert 0 == store.chunks.reclaim([lane])
    assert 1 == len(store.chunks.open_chunks(lane))


def test_renewing_begins_the_lease_again(make_store: MakeStore) -> None:
    store = make_store(lease=1.0)
    lane = Lane(DOMAIN, "billing.charge")
    store.log.join(DOMAIN, lane.handler, "0")
    store.emit("a")
    chunk, _ = fetch(store, lane)
    [before] = store.chunks.open_chunks(lane)
    store.pass_ms(5)
    assert [] == store.chunks.renew("w1", lane, [chunk])
    [after] = store.chunks.open_chunks(lane)
    assert before.renewed_ms < after.renewed_ms
    assert [chunk] == store.chunks.renew("w2", lane, [chunk])
    assert [] == store.chunks.renew("w1", lane, [])


def test_requeued_entries_are_due_at_once_for_any_worker(store: Store, lane: Lane) -> None:
    entries = [store.emit(str(n)) for n in range(1201)]
    chunk, _ = fetch(store, lane, 2000)
    assert 0 == store.chunks.requeue("w2", lane, chunk)
    assert 1201 == store.chunks.requeue("w1", lane, chunk)
    assert 0 == store.chunks.requeue("w1", lane, chunk)
    assert 1201 == store.ledger.due(lane) == held(store, lane)
    taken = store.take(lane, "w2", limit=2000).deliveries
    assert sorted(entries) == sorted(delivery.entry for delivery in taken)


def test_a_failed_entry_is_not_acknowledged_with_its_chunk(store: Store, lane: Lane) -> None:
    entries = [store.emit(name) for name in "abc"]
    chunk, fetched = fetch(store, lane)
    done = completion(fetched.entries, exceptions=[failed(fetched.entries[1])])
    assert store.chunks.complete("w1", lane, chunk, done)
    assert 1 == held(store, lane)
    pending = store.ledger.pending(lane, entries[1])
    assert pending is not None
    assert ("due", 1) == (pending.owner, pending.attempts)
    [failure] = store.ledger.failures(lane, "b")
    assert "boom" == failure.error
    [claimed] = store.run(lane)
    assert (entries[1], 2) == (claimed.entry, claimed.attempt)
    assert store.finish(lane, claimed)
    assert 0 == held(store, lane)


@pytest.mark.parametrize(
    ("outcome", "state"), [(Outcome.SKIPPED, Place.SKIPPED), (Outcome.DEAD, Place.DEAD)]
)
def test_other_exceptions_are_recorded_as_those_of_single_deliveries(
    store: Store, lane: Lane, outcome: Outcome, state: Place
) -> None:
    store.emit("a")
    chunk, fetched = fetch(store, lane)
    one = failed(fetched.entries[0], outcome)
    done = completion(fetched.entries, exceptions=[one])
    assert store.chunks.complete("w1", lane, chunk, done)
    [row] = store.ledger.rows(lane, ["a"])
    assert row is not None
    assert (state, 1) == (row.state, row.attempt)
    assert (outcome is Outcome.DEAD) == store.ledger.dead_count(DOMAIN)
    assert 0 == held(store, lane)


def test_an_exception_that_is_released_is_decided_elsewhere(store: Store, lane: Lane) -> None:
    entry = store.emit("a")
    chunk, fetched = fetch(store, lane)
    one = Settled(entry, "a", 1, Outcome.RELEASED)
    assert store.chunks.complete("w1", lane, chunk, completion(fetched.entries, exceptions=[one]))
    [delivery] = store.take(lane).deliveries
    assert (entry, 0) == (delivery.entry, delivery.attempts)


def test_the_exceptions_of_a_chunk_that_was_lost_change_nothing(store: Store, lane: Lane) -> None:
    entry = store.emit("a")
    chunk, fetched = fetch(store, lane)
    with store.leases_over():
        store.chunks.reclaim([lane])
    one = failed(fetched.entries[0], Outcome.DEAD)
    done = completion(fetched.entries, exceptions=[one], counts={"dead": 1})
    assert not store.chunks.complete("w1", lane, chunk, done)
    assert 0 == store.ledger.dead_count(DOMAIN)
    assert [entry] == [delivery.entry for delivery in store.take(lane).deliveries]
    assert 0 == store.ledger.stats(lane).get("dead", 0)


def test_trimming_keeps_the_entries_of_open_chunks(make_store: MakeStore) -> None:
    store = make_store(retention_count=1)
    lane = Lane(DOMAIN, "billing.charge")
    store.log.join(DOMAIN, lane.handler, "0")
    entries = [store.emit(name) for name in "abcdef"]
    slow, fetched = fetch(store, lane, 2)
    done, others = fetch(store, lane, 4, "w2")
    assert store.chunks.complete("w2", lane, done, completion(others.entries))
    store.log.trim(DOMAIN, exact=True)
    assert entries == [entry.id for entry in store.log.read(DOMAIN)]
    store.chunks.complete("w1", lane, slow, completion(fetched.entries[:1]))
    store.log.trim(DOMAIN, exact=True)
    assert entries[1:] == [entry.id for entry in store.log.read(DOMAIN)]
    store.chunks.complete("w1", lane, slow, completion(fetched.entries[1:]))
    store.log.trim(DOMAIN, exact=True)
    assert entries[5:] == [entry.id for entry in store.log.read(DOMAIN)]


def test_a_delivery_in_an_open_chunk_is_not_replayed(store: Store, lane: Lane) -> None:
    entry = store.emit("a")
    chunk, fetched = fetch(store, lane)
    assert 0 == store.ledger.schedule(lane, [(entry, "a")])
    store.chunks.complete("w1", lane, chunk, completion(fetched.entries))
    assert 1 == store.ledger.schedule(lane, [(entry, "a")])
    [claimed] = store.run(lane)
    assert (entry, 1) == (claimed.entry, claimed.attempt)


def test_a_handler_that_was_removed_has_no_chunks(store: Store, lane: Lane) -> None:
    store.emit("a")
    chunk, fetched = fetch(store, lane)
    store.log.leave(DOMAIN, lane.handler)
    assert fetch(store, lane)[1].removed
    assert 0 == store.chunks.reclaim([lane])
    done = completion(fetched.entries, exceptions=[failed(fetched.entries[0])])
    assert not store.chunks.complete("w1", lane, chunk, done)


def test_many_groups_are_fetched_for_in_one_call(store: Store, lane: Lane) -> None:
    other = Lane("payment", "billing.settle")
    store.log.join("payment", other.handler, "0")
    entry = store.emit("a")
    found = store.chunks.fetch(
        "w1",
        [
            FetchRequest(lane, "one", 10),
            FetchRequest(Lane(DOMAIN, "nobody.there"), "two", 10),
            FetchRequest(other, "three", 10),
        ],
    )
    assert [entry] == [one.id for one in found[0].entries]
    assert [False, True, False] == [one.removed for one in found]
    assert [] == store.chunks.fetch("w1", [])


def test_records_of_small_chunks_are_found_entry_by_entry(store: Store, lane: Lane) -> None:
    entries = [store.emit(str(n)) for n in range(60)]
    for n in range(len(entries)):
        chunk, fetched = fetch(store, lane, 1)
        assert store.chunks.complete("w1", lane, chunk, completion(fetched.entries, n))
    runs = store.chunks.runs(lane, entries[::-1])
    assert list(range(60))[::-1] == [run.took_us for run in runs if run]


def test_a_fetch_says_what_a_dispatcher_needs_to_know(store: Store, lane: Lane) -> None:
    store.ledger.note_patterns(lane, ["order.#"])
    for name in "abc":
        store.emit(name)
    chunk, fetched = fetch(store, lane, 1)
    assert (1, ("order.#",), 0) == (fetched.open_chunks, fetched.patterns, fetched.mean_us)
    assert store.chunks.complete("w1", lane, chunk, completion(fetched.entries, mean_us=1500))
    fetch(store, lane, 1, "w2")
    _, fetched = fetch(store, lane, 1)
    assert (1, 1500) == (fetched.open_chunks, fetched.mean_us)


def test_a_chunk_is_completed_and_the_next_fetched_in_one_call(store: Store, lane: Lane) -> None:
    entries = [store.emit(name) for name in "abcd"]
    chunk, fetched = fetch(store, lane, 2)
    done = completion(fetched.entries[:1], exceptions=[failed(fetched.entries[1])])
    done = Completion(entries[1], 2, done.record, done.exceptions)
    request = FetchRequest(lane, "next", 2, running=True)
    completed, following = store.chunks.complete_and_fetch("w1", lane, chunk, done, request)
    assert completed
    assert entries[2:] == [entry.id for entry in following.entries]
    assert ["next"] == [one.id for one in store.chunks.open_chunks(lane)]
    assert store.owner(lane, entries[1]) == Place.DUE


def test_a_chunk_that_was_lost_completes_nothing_but_the_next_is_fetched(
    store: Store, lane: Lane
) -> None:
    entries = [store.emit(name) for name in "ab"]
    chunk, fetched = fetch(store, lane, 1)
    assert 1 == store.chunks.requeue("w1", lane, chunk)
    request = FetchRequest(lane, "next", 2, running=True)
    told = completion(fetched.entries)
    completed, following = store.chunks.complete_and_fetch("w1", lane, chunk, told, request)
    assert not completed
    assert entries[1:] == [entry.id for entry in following.entries]


def test_the_open_chunks_of_a_worker_are_counted(store: Store, lane: Lane) -> None:
    for name in "abc":
        store.emit(name)
    fetch(store, lane, 1, running=False)
    fetch(store, lane, 1)
    fetch(store, lane, 1, "w2")
    unknown = Lane(DOMAIN, "billing.unknown")
    assert [2, 0] == store.chunks.count_open("w1", [lane, unknown])
    assert [] == store.chunks.count_open("w1", [])
