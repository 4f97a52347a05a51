"""Chunks in memory at times that the tests set: advances, leases, reports, and wakeups."""

from __future__ import annotations

import pytest

from celeriac.delivery import Group
from celeriac.delivery.advance import Advance, NewChunk
from celeriac.delivery.chunk_store import ChunkCompletion, ChunkProgress, ChunkRequest
from celeriac.delivery.counters import count_processed
from celeriac.delivery.run_record import pack_runs
from celeriac.event_log import EntryKind
from celeriac.event_log.open_chunk import OpenChunk
from celeriac.settings import Settings
from celeriac.store.memory.clock import MemoryClock
from tests.contract.store import DOMAIN, MemoryStore, body

GROUP, OTHER = Group(DOMAIN, "billing.charge"), Group(DOMAIN, "unknown.handler")
NOW = 1_700_000_040_000
LEASE_MS = 10_000


class Bench(MemoryStore):
    """A log of five entries, and one handler."""

    def __init__(self) -> None:
        super().__init__(Settings.load({}, lease=LEASE_MS / 1000))
        self.event_log.clock = self.clock = MemoryClock(NOW)  # type: ignore[attr-defined]
        self.event_log.join(DOMAIN, GROUP.handler, "0")
        self.entries = [
            self.event_log.append(DOMAIN, body(f"e{n}"), EntryKind.MADE) for n in range(5)
        ]

    def open(self, count: int = 3, *, running: bool = True, chunk: str = "c") -> list[str]:
        request = ChunkRequest(GROUP, chunk, count, running)
        [fetched] = self.chunks.fetch("w1", [request])
        return [entry.id for entry in fetched.entries]

    def advance(
        self, upto: int, chunk: NewChunk | None = None, *, after: str = "0-0", read: str = "a.#"
    ) -> dict[str, object]:
        move = Advance(GROUP, after, self.entries[upto], upto + 1, (read,), chunk)
        [advanced] = self.chunks.advance("w1", [move])
        names = ("is_moved", "is_ambiguous", "has_open", "open_chunks", "mean_us")
        return {name: value for name in names if (value := getattr(advanced, name))}

    @property
    def open_chunks(self) -> list[OpenChunk]:
        return self.chunks.open_chunks(GROUP)

    @property
    def lag(self) -> int | None:
        [group] = self.event_log.groups(DOMAIN)
        return group.lag


@pytest.fixture
def bench() -> Bench:
    return Bench()


def new_chunk(bench: Bench, first: int = 1, last: int = 3) -> NewChunk:
    return NewChunk("new", bench.entries[first - 1], bench.entries[last], last - first + 1, ())


@pytest.mark.parametrize("ambiguous", [(-9, -1), (0, 0), (1, 99)])
def test_an_advance_opens_a_chunk(bench: Bench, ambiguous: tuple[int, int]) -> None:
    first, last = ambiguous
    bench.event_log.store[DOMAIN].ids.note_ambiguous(NOW + first, NOW + last)  # type: ignore[attr-defined]
    bench._deliveries.handler_store(GROUP).stats["mean_us"] = 70
    expected = {"is_moved": True, "open_chunks": 1, "mean_us": 70}
    if first == 0:
        expected["is_ambiguous"] = True
    assert bench.advance(3, new_chunk(bench)) == expected
    [chunk] = bench.open_chunks
    assert (chunk.id, chunk.owner, chunk.count) == ("new", "queued:w1", 3)
    assert bench.lag == 1


def test_an_advance_without_a_chunk_only_moves(bench: Bench) -> None:
    bench._deliveries.handler_store(GROUP).stats["mean_us"] = 70
    assert bench.advance(3) == {"is_moved": True}
    assert (bench.open_chunks, bench.lag) == ([], 1)


@pytest.mark.parametrize(
    ("after", "trims", "in_force", "is_moved"),
    [
        ("0-0", False, (), True),
        ("0-0", False, ("a.#",), True),
        ("0-0", False, ("a.#", "b.#"), False),
        ("0-1", False, (), False),
        ("0-0", True, (), False),
    ],
)
def test_a_group_moves_only_if_nothing_changed(
    bench: Bench, after: str, trims: bool, in_force: tuple[str, ...], is_moved: bool
) -> None:
    if in_force:
        bench.deliveries.note_patterns(GROUP, in_force)
    chunk = new_chunk(bench)
    if trims:
        bench.event_log.store[DOMAIN].events.remove(bench.entries[3])  # type: ignore[attr-defined]
    advanced = bench.advance(3, chunk, after=after)
    assert advanced == ({"is_moved": True, "open_chunks": 1} if is_moved else {})
    assert len(bench.open_chunks) == is_moved
    assert bench.lag == (1 if is_moved else 4 if trims else 5)


@pytest.mark.parametrize(
    ("after_ms", "has_open"), [(0, False), (LEASE_MS - 1, False), (LEASE_MS, True), (-1, True)]
)
def test_an_expired_chunk_or_one_of_another_clock_is_open_work(
    bench: Bench, after_ms: int, has_open: bool
) -> None:
    bench.open(1)
    bench.pass_ms(after_ms)
    advanced = bench.advance(3, after=bench.entries[0])
    assert advanced == {"is_moved": True, **({"has_open": True} if has_open else {})}


def test_a_pending_delivery_is_open_work(bench: Bench) -> None:
    bench.open(1)
    bench.chunks.requeue("w1", GROUP, "c")
    assert bench.advance(3, after=bench.entries[0]) == {"is_moved": True, "has_open": True}


def test_a_chunk_that_is_begun_is_read_if_requested(bench: Bench) -> None:
    entries = bench.open(2, running=False)
    bench.open(2, running=False, chunk="d")
    begun = bench.chunks.begin("w2", GROUP, "c")
    assert begun is not None and [entry.id for entry in begun] == entries
    assert bench.chunks.begin("w2", GROUP, "d", read=False) == []
    assert bench.chunks.begin("w2", GROUP, "d", read=False) is None
    assert bench.chunks.begin("w2", OTHER, "d") is None
    assert [chunk.owner for chunk in bench.open_chunks] == ["running:w2"] * 2


@pytest.mark.parametrize(
    ("until", "reported", "left"), [(0, True, 2), (1, True, 1), (2, True, 0), (3, False, 3)]
)
def test_progress_moves_the_beginning_of_a_chunk(
    bench: Bench, until: int, reported: bool, left: int
) -> None:
    bench.open(3)
    bench.pass_ms(50)
    progress = ChunkProgress(bench.entries[until], until + 1)
    reply = bench.chunks.begin_progress("w1", GROUP, "c", progress)
    assert reply.result() is reported
    [chunk] = bench.open_chunks
    assert (chunk.count, chunk.renewed_ms) == (left, NOW + (50 if reported else 0))
    bench.pass_ms(50)
    assert bench.chunks.begin_progress("w1", GROUP, "c", progress).result() is reported
    assert bench.open_chunks == [chunk], "the same report changes nothing"
    assert bench.chunks.begin_progress("w2", GROUP, "c", progress).result() is False
    assert bench.chunks.begin_progress("w1", OTHER, "c", progress).result() is False


@pytest.mark.parametrize(
    ("until", "is_owner", "left"), [(1, True, [1]), (2, True, []), (3, False, [3])]
)
def test_a_completion_ends_the_chunk_at_its_last_entry(
    bench: Bench, until: int, is_owner: bool, left: list[int]
) -> None:
    bench.open(3)
    completion = ChunkCompletion(bench.entries[until], until + 1, counts={"processed": 5})
    assert bench.chunks.complete("w1", GROUP, "c", completion) is is_owner
    assert [chunk.count for chunk in bench.open_chunks] == left
    assert bench.deliveries.stats(GROUP).get("processed", 0) == (5 if is_owner else 0)
    assert bench.chunks.complete("w1", GROUP, "c", completion) is (is_owner and until == 1)
    assert bench.deliveries.stats(GROUP).get("processed", 0) == (5 if is_owner else 0)


def test_a_completion_is_counted_in_total_and_in_its_minute(bench: Bench) -> None:
    entries = bench.open(3)
    bench.pass_ms(61_000)
    counters = count_processed("order.placed", entries[:2], [7, 9], [NOW, NOW])
    record = pack_runs("w1", NOW, entries[:2], [7, 9], entries[2])
    completion = ChunkCompletion(entries[2], 3, record, counters=counters, mean_us=8)
    assert bench.chunks.complete("w1", GROUP, "c", completion)
    [total] = bench.deliveries.counters([GROUP])
    assert (total["order.placed"].processed, total["order.placed"].run.sum_us) == (2, 16)
    [minutes] = bench.deliveries.counters_by_minute([GROUP])
    counted = {minute: counters for minute, counters in minutes.items() if counters}
    assert counted == {(NOW + 61_000) // 60_000: total}
    assert [run and run.took_us for run in bench.chunks.runs(GROUP, entries)] == [7, 9, None]
    assert bench.deliveries.stats(GROUP)["mean_us"] == 8


@pytest.mark.parametrize(
    ("after", "requeued", "left"),
    [(None, 3, []), (0, 2, [1]), (1, 1, [2]), (2, 0, [3]), (4, 0, [3])],
)
def test_the_end_of_a_chunk_is_requeued(
    bench: Bench, after: int | None, requeued: int, left: list[int]
) -> None:
    bench.open(3)
    bench.pass_ms(50)
    last = None if after is None else bench.entries[after]
    assert bench.chunks.requeue("w1", GROUP, "c", after=last) == requeued
    assert [chunk.count for chunk in bench.open_chunks] == left
    renewed_ms = NOW + 50 if requeued else NOW
    assert {chunk.renewed_ms for chunk in bench.open_chunks} <= {renewed_ms}
    pending = bench.deliveries.pending_between(GROUP, "-", "+")
    assert [(one.owner, one.attempts, one.due_ms) for one in pending] == [
        ("scheduled", 0, NOW + 50)
    ] * requeued


def wakeup(bench: Bench) -> tuple[int, int]:
    return bench.event_log.store[DOMAIN].wakeup  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize(("is_trimmed", "wakes"), [(False, True), (True, False)])
def test_dispatchers_are_woken_for_requeued_entries(
    bench: Bench, is_trimmed: bool, wakes: bool
) -> None:
    entries = bench.open(2)
    if is_trimmed:
        for entry in entries:
            bench.event_log.store[DOMAIN].events.remove(entry)  # type: ignore[attr-defined]
    before = wakeup(bench)
    assert bench.chunks.requeue("w1", GROUP, "c") == (0 if is_trimmed else 2)
    assert (wakeup(bench) > before) == wakes
    assert bench.open_chunks == []


@pytest.mark.parametrize(
    ("running", "lost_runs", "stats"),
    [(True, 1, {"lost running": 2}), (False, 0, {"lost queued": 2})],
)
def test_an_expired_chunk_costs_a_run_if_it_had_begun(
    bench: Bench, running: bool, lost_runs: int, stats: dict[str, int]
) -> None:
    bench.open(2, running=running)
    bench.pass_ms(LEASE_MS - 1)
    assert bench.chunks.reclaim([GROUP, OTHER]) == 0
    bench.pass_ms(1)
    assert bench.chunks.reclaim([GROUP, OTHER]) == 2
    pending = bench.deliveries.pending_between(GROUP, "-", "+")
    assert [(one.attempts, one.lost_runs) for one in pending] == [(lost_runs, lost_runs)] * 2
    counted = {name: n for name, n in bench.deliveries.stats(GROUP).items() if "lost" in name}
    assert counted == stats


def test_the_chunks_of_a_worker_are_counted_and_renewed(bench: Bench) -> None:
    bench.open(1)
    bench.open(1, running=False, chunk="d")
    bench.chunks.fetch("w2", [ChunkRequest(GROUP, "e", 1)])
    assert bench.chunks.count_open("w1", [GROUP, OTHER]) == [2, 0]
    bench.pass_ms(50)
    assert bench.chunks.renew("w1", GROUP, ["c", "e", "unknown"]) == ["e", "unknown"]
    assert [chunk.renewed_ms - NOW for chunk in bench.open_chunks] == [50, 0, 0]
    assert bench.chunks.now_ms() == NOW + 50


def test_a_fetch_is_ambiguous_if_its_entries_may_repeat_an_event(bench: Bench) -> None:
    requests = [ChunkRequest(GROUP, name, count) for name, count in (("c", 2), ("d", 0), ("e", 9))]
    first, none, rest = bench.chunks.fetch("w1", requests)
    assert (first.is_ambiguous, none.is_ambiguous, rest.is_ambiguous) == (False, False, False)
    assert (first.waiting, rest.waiting, rest.open_chunks) == (3, 0, 2)
    bench.event_log.store[DOMAIN].ids.note_ambiguous(NOW, NOW)  # type: ignore[attr-defined]
    bench.event_log.append(DOMAIN, body("f"), EntryKind.MADE)
    [fetched] = bench.chunks.fetch("w1", [ChunkRequest(GROUP, "f", 9)])
    assert fetched.is_ambiguous
    [removed] = bench.chunks.fetch("w1", [ChunkRequest(OTHER, "g", 9)])
    assert removed.removed
