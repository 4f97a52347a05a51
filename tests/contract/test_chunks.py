"""Open chunks: fetched, begun, completed, requeued; and what trimming and groups make of them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence

import pytest

from celeriac.delivery import MAX_LOST_RUNS, ClaimResult, Completion, DeliveryState, Group, Outcome
from celeriac.delivery.chunk_store import ChunkCompletion, ChunkProgress, ChunkRequest, Fetched
from celeriac.delivery.record import Failure
from celeriac.delivery.run_record import RunOutcome, pack_runs, run_code
from celeriac.event_log import Entry
from tests.contract.conftest import MakeStore
from tests.contract.store import DOMAIN, Store, key_of

_ids = itertools.count()


def fetch(
    store: Store, group: Group, count: int = 100, worker: str = "w1", *, running: bool = True
) -> tuple[str, Fetched]:
    chunk = f"chunk{next(_ids)}"
    [fetched] = store.chunks.fetch(worker, [ChunkRequest(group, chunk, count, running)])
    return chunk, fetched


def completion(entries: Sequence[Entry], took_us: int = 1000, **more: object) -> ChunkCompletion:
    """Of entries that were processed, each in `took_us`."""
    ids = [entry.id for entry in entries]
    codes = [run_code(RunOutcome.PROCESSED, took_us)] * len(ids)
    return ChunkCompletion(ids[-1], len(ids), pack_runs("w1", 1234, ids, codes), **more)  # type: ignore[arg-type]


def held(store: Store, group: Group) -> int:
    [info] = [one for one in store.event_log.groups(DOMAIN) if one.handler == group.handler]
    return info.pending


def failed(entry: Entry, outcome: Outcome = Outcome.RETRY) -> Completion:
    failure = Failure(attempt=1, at=1001, error="boom")
    key = key_of(entry.body)
    return Completion(entry.id, key, 1, outcome, failure=failure, type="order.placed")


def test_a_chunk_has_the_next_waiting_entries_and_no_other_has_them(
    store: Store, group: Group
) -> None:
    entries = [store.emit(name) for name in "abcde"]
    _, first = fetch(store, group, 2)
    _, second = fetch(store, group, 2, "w2")
    _, third = fetch(store, group, 2)
    assert entries == [one.id for fetched in (first, second, third) for one in fetched.entries]
    assert "a" == json.loads(first.entries[0].body or b"")["id"]
    assert () == fetch(store, group)[1].entries
    assert () == store.fetch(group).deliveries
    assert 5 == held(store, group)


def test_what_waits_is_fetched_or_taken_and_never_both(store: Store, group: Group) -> None:
    entries = [store.emit(name) for name in "abc"]
    [taken] = store.fetch(group, limit=1).deliveries
    _, fetched = fetch(store, group, 1)
    [other] = store.fetch(group, "w2").deliveries
    assert entries == [taken.entry, fetched.entries[0].id, other.entry]


def test_open_chunks_are_listed_in_the_order_of_the_log(store: Store, group: Group) -> None:
    entries = [store.emit(name) for name in "abc"]
    assert [] == store.chunks.open_chunks(group)
    one, _ = fetch(store, group, 2, running=False)
    other, _ = fetch(store, group, 2, "w2")
    first, second = store.chunks.open_chunks(group)
    assert (one, other) == (first.id, second.id)
    assert (entries[1], 2, "queued:w1") == (first.upto, first.count, first.owner)
    assert (entries[1], entries[2]) == (second.after, second.upto)
    assert (1, "running:w2") == (second.count, second.owner)
    [info] = store.event_log.groups(DOMAIN)
    assert {"queued:w1": 2, "running:w2": 1} == info.holders
    assert info.oldest_pending is not None
    assert info.oldest_pending <= entries[0]


def test_of_two_that_begin_a_chunk_one_gets_its_entries(store: Store, group: Group) -> None:
    entries = [store.emit(name) for name in "ab"]
    chunk, _ = fetch(store, group, running=False)
    begun = store.chunks.begin("w2", group, chunk)
    assert begun is not None
    assert entries == [entry.id for entry in begun]
    assert None is store.chunks.begin("w1", group, chunk)
    assert 0 == store.chunks.requeue("w1", group, chunk)
    assert None is store.chunks.begin("w1", group, "unknown")


def test_a_queued_chunk_is_completed_only_by_the_worker_that_queued_it(
    store: Store, group: Group
) -> None:
    """Of what its handler does not want, a dispatcher reports without a task."""
    entry = store.emit("a")
    chunk, fetched = fetch(store, group, running=False)
    done = completion(fetched.entries)
    assert not store.chunks.complete("w2", group, chunk, done)
    failed_too = ChunkCompletion(entry, 1, exceptions=[failed(fetched.entries[0])])
    assert store.chunks.complete("w1", group, chunk, failed_too)
    assert store.owner(group, entry) == DeliveryState.SCHEDULED
    assert None is store.chunks.begin("w2", group, chunk)


def test_a_completed_chunk_is_gone_and_its_record_has_how_each_entry_ran(
    store: Store, group: Group
) -> None:
    entries = [store.emit(name) for name in "abc"]
    chunk, fetched = fetch(store, group)
    done = completion(fetched.entries, 1500, counts={"processed": 3, "busy_us": 4500}, mean_us=1500)
    assert store.chunks.complete("w1", group, chunk, done)
    assert [] == store.chunks.open_chunks(group)
    assert 0 == held(store, group)
    runs = store.chunks.runs(group, [*entries, "1-1"])
    assert None is runs[3]
    assert entries == [run.entry for run in runs if run]
    for run in runs[:3]:
        assert run is not None
        assert (RunOutcome.PROCESSED, "w1", 1234) == (run.outcome, run.worker, run.at_ms)
        assert abs(run.took_us - 1500) <= 1500 / 250
    stats = store.deliveries.stats(group)
    assert (3, 4500, 1500) == (stats["processed"], stats["busy_us"], stats["mean_us"])


def progress(entries: Sequence[Entry], took_us: int = 1000) -> ChunkProgress:
    done = completion(entries, took_us)
    return ChunkProgress(done.until, done.done, done.record)


def test_progress_records_how_entries_ran_and_counts_nothing(store: Store, group: Group) -> None:
    entries = [store.emit(name) for name in "abc"]
    chunk, fetched = fetch(store, group)
    for count in (1, 2):
        told = progress(fetched.entries[count - 1 : count])
        # The second time, its answer was lost.
        for _ in range(2):
            assert store.chunks.begin_progress("w1", group, chunk, told).result()
    assert None is store.deliveries.stats(group).get("processed")
    runs = store.chunks.runs(group, entries)
    assert [*entries[:2], None] == [run and run.entry for run in runs]
    assert {"running:w1"} == {one.owner for one in store.chunks.open_chunks(group)}
    done = completion(fetched.entries[2:], counts={"processed": 3})
    assert store.chunks.complete("w1", group, chunk, done)
    assert [*entries] == [run and run.entry for run in store.chunks.runs(group, entries)]
    assert 3 == store.deliveries.stats(group)["processed"]


def test_progress_of_a_chunk_that_was_lost_changes_nothing(store: Store, group: Group) -> None:
    entries = [store.emit(name) for name in "ab"]
    chunk, fetched = fetch(store, group)
    told = progress(fetched.entries[:1])
    assert not store.chunks.begin_progress("w2", group, chunk, told).result()
    assert 2 == store.chunks.requeue("w1", group, chunk)
    assert not store.chunks.begin_progress("w1", group, chunk, told).result()
    assert [None, None] == store.chunks.runs(group, entries)
    assert 2 == held(store, group)


def test_progress_begins_the_lease_again(store: Store, group: Group) -> None:
    for name in "ab":
        store.emit(name)
    chunk, fetched = fetch(store, group)
    [before] = store.chunks.open_chunks(group)
    store.pass_ms(5)
    assert store.chunks.begin_progress("w1", group, chunk, progress(fetched.entries[:1])).result()
    [after] = store.chunks.open_chunks(group)
    assert before.renewed_ms < after.renewed_ms


@pytest.mark.parametrize("how", ["progress", "completion"])
def test_a_report_moves_the_beginning_of_a_chunk(store: Store, group: Group, how: str) -> None:
    entries = [store.emit(name) for name in "abc"]
    chunk, fetched = fetch(store, group)
    if how == "progress":
        assert store.chunks.begin_progress(
            "w1", group, chunk, progress(fetched.entries[:2])
        ).result()
    else:
        assert store.chunks.complete("w1", group, chunk, completion(fetched.entries[:2]))
    [open_chunk] = store.chunks.open_chunks(group)
    assert (entries[1], entries[2], 1) == (open_chunk.after, open_chunk.upto, open_chunk.count)
    assert 1 == store.chunks.requeue("w1", group, chunk)
    [delivery] = store.fetch(group).deliveries
    assert (entries[2], 0) == (delivery.entry, delivery.attempts)


def test_a_completion_that_is_reported_twice_counts_once(store: Store, group: Group) -> None:
    for name in "abc":
        store.emit(name)
    chunk, fetched = fetch(store, group)
    done = completion(fetched.entries[:2], counts={"processed": 2})
    assert store.chunks.complete("w1", group, chunk, done)
    assert store.chunks.complete("w1", group, chunk, done)
    assert 2 == store.deliveries.stats(group)["processed"]
    last = completion(fetched.entries[2:])
    assert store.chunks.complete("w1", group, chunk, last)
    assert not store.chunks.complete("w1", group, chunk, last)


def test_a_late_owner_is_fenced_off(store: Store, group: Group) -> None:
    entries = [store.emit(name) for name in "ab"]
    chunk, fetched = fetch(store, group)
    with store.leases_over():
        assert 2 == store.chunks.reclaim([group])
    assert not store.chunks.complete("w1", group, chunk, completion(fetched.entries))
    assert [chunk] == store.chunks.renew("w1", group, [chunk])
    assert 0 == store.chunks.requeue("w1", group, chunk)
    assert [None, None] == store.chunks.runs(group, entries)
    assert [(e, 1) for e in entries] == [
        (d.entry, d.attempts) for d in store.fetch(group).deliveries
    ]


def test_entries_of_a_running_chunk_lose_a_run_with_its_lease(store: Store, group: Group) -> None:
    """No record has which of them ran when their worker died."""
    running, queued = store.emit("a"), store.emit("b")
    fetch(store, group, 1)
    fetch(store, group, 1, running=False)
    with store.leases_over():
        assert 2 == store.chunks.reclaim([group])
    stats = store.deliveries.stats(group)
    assert (1, 1) == (stats["lost running"], stats["lost queued"])
    [one, other] = store.fetch(group).deliveries
    assert [(running, 1), (queued, 0)] == [(d.entry, d.attempts) for d in (one, other)]
    [claimed] = store.claim(group, [one])
    assert (2, 1, 1) == (claimed.attempt, claimed.lost_runs, claimed.counted)
    [claimed] = store.claim(group, [other])
    assert (1, 0) == (claimed.attempt, claimed.lost_runs)


def test_a_chunk_counts_as_one_of_the_runs_that_poison_may_lose(store: Store, group: Group) -> None:
    store.emit("poison")
    fetch(store, group)
    with store.leases_over():
        store.chunks.reclaim([group])
    [claimed] = store.run(group)
    for lost in range(2, MAX_LOST_RUNS + 1):
        assert ClaimResult.RUN is claimed.result
        [claimed] = store.claim(group, store.reclaim(group).deliveries)
        assert lost == claimed.lost_runs
    assert ClaimResult.EXHAUSTED is claimed.result


def test_a_lease_that_is_valid_is_not_reclaimed(store: Store, group: Group) -> None:
    store.emit("a")
    fetch(store, group)
    assert 0 == store.chunks.reclaim([group])
    assert 1 == len(store.chunks.open_chunks(group))


def test_renewing_begins_the_lease_again(make_store: MakeStore) -> None:
    store = make_store(lease=1.0)
    group = Group(DOMAIN, "billing.charge")
    store.event_log.join(DOMAIN, group.handler, "0")
    store.emit("a")
    chunk, _ = fetch(store, group)
    [before] = store.chunks.open_chunks(group)
    store.pass_ms(5)
    assert [] == store.chunks.renew("w1", group, [chunk])
    [after] = store.chunks.open_chunks(group)
    assert before.renewed_ms < after.renewed_ms
    assert [chunk] == store.chunks.renew("w2", group, [chunk])
    assert [] == store.chunks.renew("w1", group, [])


def test_requeued_entries_are_due_at_once_for_any_worker(store: Store, group: Group) -> None:
    entries = [store.emit(str(n)) for n in range(1201)]
    chunk, _ = fetch(store, group, 2000)
    assert 0 == store.chunks.requeue("w2", group, chunk)
    assert 1201 == store.chunks.requeue("w1", group, chunk)
    assert 0 == store.chunks.requeue("w1", group, chunk)
    assert 1201 == store.deliveries.due(group) == held(store, group)
    taken = store.fetch(group, "w2", limit=2000).deliveries
    assert sorted(entries) == sorted(delivery.entry for delivery in taken)


def test_a_chunk_that_was_begun_is_not_requeued_as_queued(store: Store, group: Group) -> None:
    entry = store.emit("a")
    chunk, _ = fetch(store, group, running=False)
    assert store.chunks.begin("w1", group, chunk) is not None
    assert 0 == store.chunks.requeue("w1", group, chunk, only_queued=True)
    assert [chunk] == [one.id for one in store.chunks.open_chunks(group)]
    assert 1 == store.chunks.requeue("w1", group, chunk)
    assert [entry] == [one.entry for one in store.fetch(group, "w2").deliveries]


def test_only_a_queued_chunk_is_requeued_as_queued(store: Store, group: Group) -> None:
    store.emit("a")
    chunk, _ = fetch(store, group, running=False)
    assert 0 == store.chunks.requeue("w2", group, chunk, only_queued=True)
    assert 1 == store.chunks.requeue("w1", group, chunk, only_queued=True)
    assert [] == store.chunks.open_chunks(group)


def test_the_end_of_a_chunk_is_requeued_while_an_entry_runs(store: Store, group: Group) -> None:
    entries = [store.emit(name) for name in "abcde"]
    chunk, fetched = fetch(store, group)
    first = completion(fetched.entries[:1])
    progress = ChunkProgress(first.until, 1, first.record)
    assert store.chunks.begin_progress("w1", group, chunk, progress).result()
    assert 0 == store.chunks.requeue("w2", group, chunk, after=entries[2])
    assert 2 == store.chunks.requeue("w1", group, chunk, after=entries[2])
    assert 0 == store.chunks.requeue("w1", group, chunk, after=entries[2])
    [open_chunk] = store.chunks.open_chunks(group)
    assert (entries[0], entries[2]) == (open_chunk.after, open_chunk.upto)
    assert 2 == open_chunk.count
    assert entries[3:] == [one.entry for one in store.fetch(group, "w2").deliveries]
    assert store.chunks.complete("w1", group, chunk, completion(fetched.entries[1:3]))
    assert [] == store.chunks.open_chunks(group)
    assert 2 == held(store, group)


def test_results_of_requeued_entries_are_refused(store: Store, group: Group) -> None:
    entries = [store.emit(name) for name in "abc"]
    chunk, fetched = fetch(store, group)
    assert 2 == store.chunks.requeue("w1", group, chunk, after=entries[0])
    two, every = completion(fetched.entries[:2]), completion(fetched.entries)
    progress = ChunkProgress(two.until, 2, two.record)
    assert not store.chunks.begin_progress("w1", group, chunk, progress).result()
    assert not store.chunks.complete("w1", group, chunk, every)
    assert [None] * 3 == list(store.chunks.runs(group, entries))
    assert 1 == len(store.chunks.open_chunks(group))


def test_the_end_of_a_chunk_is_its_rest_where_the_entry_was_reported(
    store: Store, group: Group
) -> None:
    entries = [store.emit(name) for name in "abc"]
    chunk, fetched = fetch(store, group)
    assert store.chunks.complete("w1", group, chunk, completion(fetched.entries[:2]))
    assert 1 == store.chunks.requeue("w1", group, chunk, after=entries[1])
    assert [] == store.chunks.open_chunks(group)
    assert entries[2:] == [one.entry for one in store.fetch(group, "w2").deliveries]


def test_a_failed_entry_is_not_acknowledged_with_its_chunk(store: Store, group: Group) -> None:
    entries = [store.emit(name) for name in "abc"]
    chunk, fetched = fetch(store, group)
    done = completion(fetched.entries, exceptions=[failed(fetched.entries[1])])
    assert store.chunks.complete("w1", group, chunk, done)
    assert 1 == held(store, group)
    pending = store.deliveries.pending(group, entries[1])
    assert pending is not None
    assert ("scheduled", 1) == (pending.owner, pending.attempts)
    [failure] = store.deliveries.failures(group, "b")
    assert "boom" == failure.error
    [claimed] = store.run(group)
    assert (entries[1], 2) == (claimed.entry, claimed.attempt)
    assert store.complete(group, claimed)
    assert 0 == held(store, group)


@pytest.mark.parametrize(
    ("outcome", "state"),
    [(Outcome.SKIPPED, DeliveryState.SKIPPED), (Outcome.DEAD, DeliveryState.DEAD)],
)
def test_other_exceptions_are_recorded_as_those_of_single_deliveries(
    store: Store, group: Group, outcome: Outcome, state: DeliveryState
) -> None:
    store.emit("a")
    chunk, fetched = fetch(store, group)
    one = failed(fetched.entries[0], outcome)
    done = completion(fetched.entries, exceptions=[one])
    assert store.chunks.complete("w1", group, chunk, done)
    [row] = store.deliveries.rows(group, ["a"])
    assert row is not None
    assert (state, 1) == (row.state, row.attempt)
    assert (outcome is Outcome.DEAD) == store.deliveries.dead_count(DOMAIN)
    assert 0 == held(store, group)


def test_an_exception_that_is_released_is_decided_elsewhere(store: Store, group: Group) -> None:
    entry = store.emit("a")
    chunk, fetched = fetch(store, group)
    one = Completion(entry, "a", 1, Outcome.REQUEUED)
    assert store.chunks.complete("w1", group, chunk, completion(fetched.entries, exceptions=[one]))
    [delivery] = store.fetch(group).deliveries
    assert (entry, 0) == (delivery.entry, delivery.attempts)


def test_the_exceptions_of_a_chunk_that_was_lost_change_nothing(store: Store, group: Group) -> None:
    entry = store.emit("a")
    chunk, fetched = fetch(store, group)
    with store.leases_over():
        store.chunks.reclaim([group])
    one = failed(fetched.entries[0], Outcome.DEAD)
    done = completion(fetched.entries, exceptions=[one], counts={"dead": 1})
    assert not store.chunks.complete("w1", group, chunk, done)
    assert 0 == store.deliveries.dead_count(DOMAIN)
    assert [entry] == [delivery.entry for delivery in store.fetch(group).deliveries]
    assert 0 == store.deliveries.stats(group).get("dead", 0)


def test_trimming_keeps_the_entries_of_open_chunks(make_store: MakeStore) -> None:
    store = make_store(retention_count=1)
    group = Group(DOMAIN, "billing.charge")
    store.event_log.join(DOMAIN, group.handler, "0")
    entries = [store.emit(name) for name in "abcdef"]
    slow, fetched = fetch(store, group, 2)
    done, others = fetch(store, group, 4, "w2")
    assert store.chunks.complete("w2", group, done, completion(others.entries))
    store.event_log.trim(DOMAIN, exact=True)
    assert entries == [entry.id for entry in store.event_log.read(DOMAIN)]
    store.chunks.complete("w1", group, slow, completion(fetched.entries[:1]))
    store.event_log.trim(DOMAIN, exact=True)
    assert entries[1:] == [entry.id for entry in store.event_log.read(DOMAIN)]
    store.chunks.complete("w1", group, slow, completion(fetched.entries[1:]))
    store.event_log.trim(DOMAIN, exact=True)
    assert entries[5:] == [entry.id for entry in store.event_log.read(DOMAIN)]


def test_a_delivery_in_an_open_chunk_is_not_replayed(store: Store, group: Group) -> None:
    entry = store.emit("a")
    chunk, fetched = fetch(store, group)
    assert 0 == store.deliveries.replay(group, [(entry, "a")])
    store.chunks.complete("w1", group, chunk, completion(fetched.entries))
    assert 1 == store.deliveries.replay(group, [(entry, "a")])
    [claimed] = store.run(group)
    assert (entry, 1) == (claimed.entry, claimed.attempt)


def test_a_handler_that_was_removed_has_no_chunks(store: Store, group: Group) -> None:
    store.emit("a")
    chunk, fetched = fetch(store, group)
    store.event_log.leave(DOMAIN, group.handler)
    assert fetch(store, group)[1].removed
    assert 0 == store.chunks.reclaim([group])
    done = completion(fetched.entries, exceptions=[failed(fetched.entries[0])])
    assert not store.chunks.complete("w1", group, chunk, done)


def test_many_groups_are_fetched_for_in_one_call(store: Store, group: Group) -> None:
    other = Group("payment", "billing.settle")
    store.event_log.join("payment", other.handler, "0")
    entry = store.emit("a")
    found = store.chunks.fetch(
        "w1",
        [
            ChunkRequest(group, "one", 10),
            ChunkRequest(Group(DOMAIN, "nobody.there"), "two", 10),
            ChunkRequest(other, "three", 10),
        ],
    )
    assert [entry] == [one.id for one in found[0].entries]
    assert [False, True, False] == [one.removed for one in found]
    assert [] == store.chunks.fetch("w1", [])


def test_records_of_small_chunks_are_found_entry_by_entry(store: Store, group: Group) -> None:
    entries = [store.emit(str(n)) for n in range(60)]
    for n in range(len(entries)):
        chunk, fetched = fetch(store, group, 1)
        assert store.chunks.complete("w1", group, chunk, completion(fetched.entries, n))
    runs = store.chunks.runs(group, entries[::-1])
    assert list(range(60))[::-1] == [run.took_us for run in runs if run]


def test_a_fetch_returns_what_a_dispatcher_needs(store: Store, group: Group) -> None:
    store.deliveries.note_patterns(group, ["order.#"])
    for name in "abc":
        store.emit(name)
    chunk, fetched = fetch(store, group, 1)
    assert (1, ("order.#",), 0) == (fetched.open_chunks, fetched.patterns, fetched.mean_us)
    assert store.chunks.complete("w1", group, chunk, completion(fetched.entries, mean_us=1500))
    fetch(store, group, 1, "w2")
    _, fetched = fetch(store, group, 1)
    assert (1, 1500) == (fetched.open_chunks, fetched.mean_us)


def test_a_fetch_returns_how_many_entries_follow_it(store: Store, group: Group) -> None:
    for name in "abcd":
        store.emit(name)
    assert [3, 1, 0, 0] == [fetch(store, group, n)[1].waiting for n in (1, 2, 2, 2)]


def test_a_chunk_is_completed_and_the_next_fetched_in_one_call(store: Store, group: Group) -> None:
    entries = [store.emit(name) for name in "abcd"]
    chunk, fetched = fetch(store, group, 2)
    done = completion(fetched.entries[:1], exceptions=[failed(fetched.entries[1])])
    done = ChunkCompletion(entries[1], 2, done.record, done.exceptions)
    request = ChunkRequest(group, "next", 2, running=True)
    completed, following = store.chunks.complete_and_fetch("w1", group, chunk, done, request)
    assert completed
    assert entries[2:] == [entry.id for entry in following.entries]
    assert ["next"] == [one.id for one in store.chunks.open_chunks(group)]
    assert store.owner(group, entries[1]) == DeliveryState.SCHEDULED


def test_a_chunk_that_was_lost_completes_nothing_but_the_next_is_fetched(
    store: Store, group: Group
) -> None:
    entries = [store.emit(name) for name in "ab"]
    chunk, fetched = fetch(store, group, 1)
    assert 1 == store.chunks.requeue("w1", group, chunk)
    request = ChunkRequest(group, "next", 2, running=True)
    told = completion(fetched.entries)
    completed, following = store.chunks.complete_and_fetch("w1", group, chunk, told, request)
    assert not completed
    assert entries[1:] == [entry.id for entry in following.entries]


def test_the_open_chunks_of_a_worker_are_counted(store: Store, group: Group) -> None:
    for name in "abc":
        store.emit(name)
    fetch(store, group, 1, running=False)
    fetch(store, group, 1)
    fetch(store, group, 1, "w2")
    unknown = Group(DOMAIN, "billing.unknown")
    assert [2, 0] == store.chunks.count_open("w1", [group, unknown])
    assert [] == store.chunks.count_open("w1", [])
