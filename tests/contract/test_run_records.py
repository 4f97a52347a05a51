"""Run records of small chunks, which are joined whatever the order in which they are reported."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from redis.exceptions import ResponseError

from celeriac.delivery import Group, Outcome
from celeriac.delivery.chunk_store import ChunkCompletion, ChunkProgress
from celeriac.delivery.run_record import RunOutcome, pack_runs, run_code
from celeriac.event_log import Entry, entry_time_ms
from tests.contract.store import DOMAIN, MemoryStore, RedisStore, Store
from tests.contract.test_chunks import failed, fetch, held


def small(worker: str, entries: Sequence[Entry], took_us: int, **more: object) -> ChunkCompletion:
    ids = [entry.id for entry in entries]
    at_ms = entry_time_ms(ids[-1]) + 5
    record = pack_runs(worker, at_ms, ids, [run_code(RunOutcome.PROCESSED, took_us)] * len(ids))
    return ChunkCompletion(ids[-1], len(ids), record, **more)  # type: ignore[arg-type]


def records(store: Store, group: Group) -> int:
    assert isinstance(store, RedisStore)
    return int(store.client.zcard(store.keys.runs(DOMAIN, group.handler)))


@pytest.mark.parametrize("count", [1, 3])
def test_small_chunks_of_several_workers_are_joined_with_how_each_entry_ran(
    store: Store, group: Group, count: int
) -> None:
    entries = [store.emit(str(n)) for n in range(60 * count)]
    expected = []
    for n in range(60):
        worker = f"w{n % 3}"
        chunk, fetched = fetch(store, group, count, worker)
        assert store.chunks.complete(worker, group, chunk, small(worker, fetched.entries, n))
        expected += [(n, worker, entry_time_ms(fetched.entries[-1].id) + 5)] * count
    runs = store.chunks.runs(group, entries)
    assert expected == [(run.took_us, run.worker, run.at_ms) for run in runs if run]
    if isinstance(store, RedisStore):
        assert records(store, group) <= 4


def test_small_chunks_are_joined_when_they_are_reported_out_of_order(
    store: Store, group: Group
) -> None:
    entries = [store.emit(str(n)) for n in range(120)]
    chance, open_chunks, expected = random.Random(1), [], {}
    for n in range(120):
        chunk, fetched = fetch(store, group, 1)
        open_chunks.append((chunk, fetched.entries, n))
        expected[fetched.entries[0].id] = n
        if len(open_chunks) == 3:
            chunk, some, took = open_chunks.pop(chance.randrange(3))
            assert store.chunks.complete("w1", group, chunk, small("w1", some, took))
    for chunk, some, took in open_chunks:
        assert store.chunks.complete("w1", group, chunk, small("w1", some, took))
    runs = store.chunks.runs(group, entries)
    assert list(expected.values()) == [run.took_us for run in runs if run]
    if isinstance(store, RedisStore):
        # About half of them. Among entries of one ms the newest records are found in another order.
        assert records(store, group) <= 80


@pytest.mark.parametrize("kind", ["runs", "stats", "counters"])
def test_a_report_that_meets_a_key_of_another_type_changes_nothing(
    store: Store, group: Group, kind: str
) -> None:
    if isinstance(store, MemoryStore):
        pytest.skip("nobody else writes to it")
    assert isinstance(store, RedisStore)
    store.emit("a")
    store.emit("b")
    chunk, fetched = fetch(store, group)
    before = store.chunks.open_chunks(group)
    key = getattr(store.keys, kind)(DOMAIN, group.handler)
    store.client.delete(key)
    store.client.set(key, "x")
    done = small(
        "w1",
        fetched.entries,
        1,
        exceptions=[failed(fetched.entries[1], Outcome.DEAD)],
        counts={"processed": 1},
        counters={"order.placed processed": 1},
    )
    with pytest.raises(ResponseError):
        store.chunks.complete("w1", group, chunk, done)
    if kind == "runs":
        progress = ChunkProgress(fetched.entries[0].id, 1, done.record)
        with pytest.raises(ResponseError):
            store.chunks.begin_progress("w1", group, chunk, progress).result()
    assert before == store.chunks.open_chunks(group)
    assert (2, 0) == (held(store, group), store.deliveries.dead_count(DOMAIN))
    assert None is store.deliveries.pending(group, fetched.entries[1].id)
    store.client.delete(key)
    assert store.chunks.complete("w1", group, chunk, done)
    assert (0, 1) == (held(store, group), store.deliveries.dead_count(DOMAIN))
