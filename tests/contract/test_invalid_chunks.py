"""Open chunks and run records that cannot be read: each is skipped and reported, and nothing else
is lost."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from celeriac.delivery import Group
from celeriac.delivery.chunk_store import ChunkCompletion
from celeriac.delivery.run_record import RunOutcome, pack_runs, run_code
from celeriac.event_log import Entry
from celeriac.tracking import DeliveryState
from tests.contract.store import DOMAIN, MemoryStore, RedisStore, Store
from tests.contract.test_chunks import completion, fetch
from tests.contract.test_matrix import Bus, bus_of, complete

CHUNKS = {
    b"no-chunk": b"x",
    b"no-ids": b"a b 1 running:w 5",
    b"no-owner": b"1-0 2-0 1 someone 5",
    b"no-count": b"1-0 2-0 one running:w 5",
    b"too-short": b"1-0 2-0 1 running:w",
    b"no-text": b"\xff\xfe",
    b"\xff": b"1-0 2-0 1 running:w 5",
}


@pytest.fixture
def redis_store(store: Store) -> RedisStore:
    if isinstance(store, MemoryStore):
        pytest.skip("nobody else writes to it")
    assert isinstance(store, RedisStore)
    return store


@pytest.fixture
def bus(redis_store: RedisStore) -> Bus:
    return bus_of(redis_store)


def faults(store: RedisStore, kind: str) -> list[str]:
    return [one.fault for one in store.invalid if f":{kind}:" in one.key]


@pytest.mark.parametrize("id", CHUNKS)
def test_a_record_that_is_no_open_chunk_is_skipped_and_reported(
    redis_store: RedisStore, bus: Bus, id: bytes
) -> None:
    key = redis_store.keys.chunks(DOMAIN, bus.group.handler)
    bus.emit("a", "b")
    chunk, _ = fetch(redis_store, bus.group, 1)
    redis_store.client.hset(key, id, CHUNKS[id])
    assert ["running", "waiting"] == bus.states("a", "b")
    assert (1, 1, 2) == (bus.lag.running, bus.lag.waiting, bus.lag.unfinished)
    assert ["a"] == bus.found(DeliveryState.RUNNING)
    assert [chunk] == [one.id for one in redis_store.chunks.open_chunks(bus.group)]
    assert 1 == len(faults(redis_store, "chunks"))
    redis_store.client.hdel(key, id)
    redis_store.event_log.groups(DOMAIN)
    assert [] == faults(redis_store, "chunks")


def test_open_chunks_of_another_type_are_none_and_reported(
    redis_store: RedisStore, bus: Bus
) -> None:
    bus.emit("a")
    redis_store.client.set(redis_store.keys.chunks(DOMAIN, bus.group.handler), "x")
    assert ["waiting"] == bus.states("a")
    assert 1 == len(faults(redis_store, "chunks"))
    assert [] == redis_store.chunks.open_chunks(bus.group)
    assert 1 == len(faults(redis_store, "chunks"))


def test_open_chunks_of_another_type_do_not_stop_the_reclaiming_of_others(
    redis_store: RedisStore, bus: Bus
) -> None:
    redis_store.client.set(redis_store.keys.chunks(DOMAIN, bus.group.handler), "x")
    assert 0 == redis_store.chunks.reclaim([bus.group])
    assert 1 == len(faults(redis_store, "chunks"))


def one_by_one(bus: Bus, *ids: str) -> list[str]:
    """Process each event in a chunk of its own, in a millisecond of its own, with a record that is
    too large to be joined with others; return their entries."""
    entries = []
    for id in ids:
        bus.emit(id)
        chunk, fetched = fetch(bus.store, bus.group)
        complete(bus, chunk, large(fetched.entries))
        entries.append(fetched.entries[0].id)
        bus.store.pass_ms(2)
    return entries


def large(entries: Sequence[Entry]) -> ChunkCompletion:
    ids = [entry.id for entry in entries]
    record = pack_runs("w" * 1200, 1, ids, [run_code(RunOutcome.PROCESSED, 5)] * len(ids))
    return ChunkCompletion(ids[-1], len(ids), record)


def corrupt(store: RedisStore, group: Group, n: int, member: bytes) -> None:
    """Replace the nth run record."""
    key = store.keys.runs(DOMAIN, group.handler)
    [(old, score)] = store.client.zrange(key, n, n, withscores=True)
    store.client.zrem(key, old)
    header = old.partition(b"\n")[0]
    store.client.zadd(key, {member.replace(b"HEADER", header): score})


@pytest.mark.parametrize(
    "member",
    [
        b"x", b"", b"1-0\n", b"a b\nc", b"\xff\n\xff", b"HEADER\nx", b"HEADER\n\x00\x00\x00\x01x",
        b"HEADER\n\x00\x00\x00\x05\x94\xa1w\x01\xc4",
    ],
)  # fmt: skip
def test_of_a_run_record_that_cannot_be_read_only_the_position_is_known(
    redis_store: RedisStore, bus: Bus, member: bytes
) -> None:
    one_by_one(bus, "a", "b", "c")
    corrupt(redis_store, bus.group, 1, member)
    a, b, c = bus.cells("a", "b", "c")
    for cell in (a, c):
        assert ("processed", 1, 5) == (cell.state, cell.attempts, cell.took_us)
    assert ("processed", 0, None, None, None) == (
        b.state, b.attempts, b.took_us, b.at_ms, b.worker,
    )  # fmt: skip
    assert ["c", "b", "a"] == bus.found(DeliveryState.PROCESSED)
    bus.states("b")
    [fault] = faults(redis_store, "runs")
    assert "is not a run record" in fault


def test_a_run_record_that_is_gone_leaves_its_entries_missing(
    redis_store: RedisStore, bus: Bus
) -> None:
    one_by_one(bus, "a", "b", "c")
    key = redis_store.keys.runs(DOMAIN, bus.group.handler)
    redis_store.client.zremrangebyrank(key, 1, 1)
    assert ["processed", "missing", "processed"] == bus.states("a", "b", "c")


def test_run_records_of_another_type_are_reported(redis_store: RedisStore, bus: Bus) -> None:
    one_by_one(bus, "a")
    redis_store.client.set(redis_store.keys.runs(DOMAIN, bus.group.handler), "x")
    assert ["processed"] == bus.states("a")
    assert 1 == len(faults(redis_store, "runs"))


def test_the_newest_records_are_inspected(redis_store: RedisStore, bus: Bus) -> None:
    one_by_one(bus, "a", "b", "c")
    bus.emit("d")
    fetch(redis_store, bus.group)
    key = redis_store.keys.chunks(DOMAIN, bus.group.handler)
    redis_store.client.hset(key, "x", "y")
    corrupt(redis_store, bus.group, 0, b"HEADER\nx")
    corrupt(redis_store, bus.group, 2, b"x")
    redis_store.chunks.inspect([bus.group])  # type: ignore[attr-defined]
    assert (2, 1) == (len(faults(redis_store, "runs")), len(faults(redis_store, "chunks")))


def test_runs_are_found_wherever_the_entries_are(store: Store, group: Group) -> None:
    """Many records of one millisecond, large ones, and entries without a record."""
    sizes, entries = [1] * 40 + [300] + [3] * 30, list[str]()
    for size in sizes:
        for n in range(size):
            entries.append(store.emit(f"{len(entries)}.{n}"))
        chunk, fetched = fetch(store, group, size)
        if len(entries) % 7:
            done = completion(fetched.entries, len(entries))
        else:
            done = ChunkCompletion(fetched.entries[-1].id, size)
        assert store.chunks.complete("w1", group, chunk, done)
    runs = store.chunks.runs(group, entries)
    assert entries == [
        run.entry if run else entry for run, entry in zip(runs, entries, strict=True)
    ]
    expected, at = [], 0
    for size in [1] * 40 + [300] + [3] * 30:
        at += size
        expected += [None if at % 7 == 0 else pytest.approx(at, rel=0.005)] * size
    assert expected == [run and run.took_us for run in runs]
    for some in (entries[::50], entries[:1], entries[-1:], entries[7::90][::-1]):
        want = [runs[entries.index(entry)] for entry in some]
        assert want == store.chunks.runs(group, some)
    assert [None, None] == store.chunks.runs(group, ["1-1", "9999999999999-0"])
    assert [] == store.chunks.runs(group, [])


def test_what_a_script_leaves_for_the_next_is_no_invalid_chunk(
    redis_store: RedisStore, bus: Bus
) -> None:
    """Where the server did not know complete.lua, it stays until the next fetch."""
    bus.emit("a")
    key = redis_store.keys.chunks(DOMAIN, bus.group.handler)
    redis_store.client.hset(key, b"", b"0123456789abcdef")
    assert [] == redis_store.chunks.open_chunks(bus.group)
    redis_store.event_log.groups(DOMAIN)
    assert [] == faults(redis_store, "chunks")
