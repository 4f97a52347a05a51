"""How long a task runs chunks, at simulated times: the time of each, and when the task ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import redis

from celeriac import Event, EventBus
from celeriac.delivery.chunk_store import ChunkRequest, Fetched
from celeriac.delivery.fetch_size import DRAIN, UNMEASURED
from celeriac.event_log import Entry
from celeriac.executor import Executor, Report, chunk_executor
from celeriac.executor.chunk_executor import FIRST_CHUNK, LONE_DRAIN, LONGEST_CHUNK, STILL_SLOW
from celeriac.testing.store import Store

COUNT = 7  # what the size of a fetch is


class Size:
    """What a FetchSize is given."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.noted: list[tuple[int, ...]] = []
        self.asked: list[tuple[Any, ...]] = []

    def note(self, *numbers: int) -> None:
        self.noted.append(numbers)

    def count(self, mean_us: int, batch: int | None, *, longest_us: int, few: int) -> int:
        self.asked.append((mean_us, batch, longest_us, few))
        return COUNT


class Bench:
    """Runs tasks of simulated chunks. The next chunk `takes` seconds, `ends` or not, and is
    followed by one of `fetches`."""

    def __init__(self, bus: EventBus, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        @bus.on("order.placed")
        def charge(event: Event[Any]) -> None: ...

        self.bus, self.store = bus, store
        self.executor = Executor(bus.service).chunks
        self.handler = bus.service.handlers["billing.charge"]
        self.now, self.takes = 0.0, 0.0
        self.ends, self.lost, self.several = True, False, True
        self.raises: BaseException | None = None
        self.fetches: list[Fetched | None] = []
        self.run_times: list[float] = []  # the longest time that each chunk may run
        self.chunks: list[dict[str, Any]] = []
        self.requests: list[ChunkRequest | None] = []
        self.requeued = 0
        self.sizes: list[Size] = []
        clock = SimpleNamespace(monotonic=lambda: self.now)
        monkeypatch.setattr(chunk_executor, "time", clock)
        monkeypatch.setattr(chunk_executor, "RunningChunk", self._chunk)
        monkeypatch.setattr(chunk_executor, "FetchSize", self._size)
        monkeypatch.setattr(store.backend.chunks, "begin", lambda *args, **options: [])

    def execute(self, entries: int = 1, more: int = 0) -> Report:
        given = [Entry(f"{n}-0", b"12345") for n in range(1, entries + 1)]
        return self.executor.execute(self.handler, "order", "first", given, more=more)

    def _size(self, limit: int) -> Size:
        self.sizes.append(Size(limit))
        return self.sizes[-1]

    def _chunk(
        self,
        process: Any,
        handler: Any,
        group: Any,
        id: str,
        entries: Sequence[Entry],
        report: Report,
        sure_at: float,
        **options: bool,
    ) -> Any:
        kept = [ids for _, ids in self.executor.process.leases._chunks.values()]
        self.chunks.append({"id": id, "sure_at": sure_at, "kept": list(kept[0]), **options})
        return SimpleNamespace(
            entries=entries, lost=self.lost, wanted=3, run=self._run, complete=self._complete,
            requeue_rest=self._requeue_rest, wants_several=lambda: self.several,
        )  # fmt: skip

    def _run(self, longest: float) -> bool:
        self.run_times.append(longest)
        self.now += self.takes
        if self.raises is not None:
            raise self.raises
        return self.ends

    def _complete(self, request: ChunkRequest | None) -> Fetched | None:
        self.requests.append(request)
        return self.fetches.pop(0) if request else None

    def _requeue_rest(self) -> None:
        self.requeued += 1


def fetched(entries: int = 1, **options: Any) -> Fetched:
    return Fetched(tuple(Entry(f"{n}-0", None) for n in range(1, entries + 1)), **options)


@pytest.fixture
def bench(bus: EventBus, store: Store, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(bus, store, monkeypatch)


@pytest.mark.parametrize(
    ("entries", "is_measured", "longest"),
    [
        (1, False, FIRST_CHUNK),
        (UNMEASURED, False, FIRST_CHUNK),
        (UNMEASURED + 1, False, LONGEST_CHUNK),
        (1, True, LONGEST_CHUNK),
    ],
)
def test_the_first_chunk_of_a_handler_may_take_less_time(
    bench: Bench, entries: int, is_measured: bool, longest: float
) -> None:
    if is_measured:
        bench.executor.process.note_run_times(bench.handler, [1])
    bench.execute(entries)
    assert bench.run_times == [longest]


@pytest.mark.parametrize(
    ("takes", "after", "several", "runs"),
    [
        (LONGEST_CHUNK, 0.0, True, False),
        (LONGEST_CHUNK, STILL_SLOW - 0.25, True, False),
        (LONGEST_CHUNK, STILL_SLOW, True, True),
        (LONGEST_CHUNK, 0.0, False, True),
        (LONGEST_CHUNK - 0.25, 0.0, True, True),
    ],
)
def test_after_a_slow_chunk_only_a_lone_event_runs_for_a_second(
    bench: Bench, takes: float, after: float, several: bool, runs: bool
) -> None:
    bench.takes, bench.ends = takes, False
    bench.execute(more=9)
    assert (bench.requeued, bench.requests) == (1, []), "the task ends"
    bench.now += after
    bench.several, bench.takes, bench.ends = several, 0.0, True
    bench.execute()
    assert len(bench.run_times) == (2 if runs else 1)
    assert bench.requeued == (1 if runs else 2)
    assert len(bench.requests) == runs


def test_a_chunk_whose_last_event_is_slow_makes_its_handler_slow(bench: Bench) -> None:
    """The next task was sent before that: it would block the process for as long again."""
    bench.takes = LONGEST_CHUNK
    bench.execute()
    bench.takes = 0.0
    bench.execute()
    assert (len(bench.run_times), bench.requeued) == (1, 1)


def test_a_batch_may_always_take_that_long(bench: Bench) -> None:
    bench.handler = replace(bench.handler, batch=100)
    bench.takes = LONGEST_CHUNK
    bench.execute()
    bench.execute()
    assert (len(bench.run_times), bench.requeued) == (2, 0)


def test_a_lost_chunk_is_not_requeued_and_its_handler_is_not_slow(bench: Bench) -> None:
    bench.takes, bench.ends, bench.lost = 60.0, False, True
    bench.execute()
    bench.ends, bench.lost = True, False
    bench.execute()
    assert (bench.requeued, len(bench.run_times)) == (0, 2)


def test_what_ends_the_process_requeues_the_rest(bench: Bench) -> None:
    bench.raises = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        bench.execute()
    assert (bench.requeued, bench.requests) == (1, [])


@pytest.mark.parametrize(("handlers", "drain"), [(1, LONE_DRAIN), (2, DRAIN)])
@pytest.mark.parametrize("late", [-0.001, 0.0])
def test_a_task_fetches_more_until_its_time_is_up(
    bench: Bench, handlers: int, drain: float, late: float
) -> None:
    if handlers == 2:

        @bench.bus.on("order.paid")
        def other(event: Event[Any]) -> None: ...

    bench.takes = drain + late
    bench.fetches = [None]
    bench.execute(more=9)
    [request] = bench.requests
    assert (request is not None) == (late < 0)


def test_a_fetch_is_for_the_time_that_is_left(bench: Bench) -> None:
    """At most DRAIN, and at most the share of the waiting entries that the store returned."""
    bench.executor.process.note_run_times(bench.handler, [40])
    bench.fetches = [fetched(waiting=7, open_chunks=2), fetched(waiting=3)]
    bench.takes = 0.21875
    bench.execute(2, more=9)
    [size] = bench.sizes
    assert size.limit == bench.bus.settings.max_chunk
    assert size.asked == [(40, None, int(DRAIN * 1e6), 9), (40, None, 62_500, 4)]
    assert size.noted == [(2, 3, 10), (1, 3, 0), (1, 3, 0)]
    assert [request and request.count for request in bench.requests] == [COUNT, COUNT, None]
    assert all(request.running for request in bench.requests if request)


def test_the_size_of_fetches_is_remembered_for_the_next_task(bench: Bench) -> None:
    bench.execute()
    bench.execute()
    assert len(bench.sizes[0].noted) == 2


@pytest.mark.parametrize("fetches", [[None], [fetched(0)]])
def test_a_task_ends_if_nothing_was_fetched(bench: Bench, fetches: list[Fetched | None]) -> None:
    bench.fetches = fetches
    bench.execute(more=9)
    assert (len(bench.run_times), len(bench.requests)) == (1, 1)


@pytest.mark.parametrize(
    ("options", "others", "ambiguous"),
    [
        ({}, False, False),
        ({"is_ambiguous": True}, False, True),
        ({"patterns": ("order.placed",)}, False, False),
        ({"patterns": ("order.placed", "order.paid")}, True, False),
    ],
)
def test_the_next_chunk_is_run_as_the_store_describes_it(
    bench: Bench, options: dict[str, Any], others: bool, ambiguous: bool
) -> None:
    bench.now, bench.takes = 5.0, 0.125
    bench.fetches = [fetched(**options, waiting=0)]
    bench.execute(more=9)
    first, second = bench.chunks
    assert first == {
        "id": "first", "sure_at": 5.0, "kept": ["first"], "others": False, "ambiguous": False,
    }  # fmt: skip
    request = bench.requests[0]
    assert request is not None
    assert second == {
        "id": request.chunk, "sure_at": 5.125, "kept": [request.chunk],
        "others": others, "ambiguous": ambiguous,
    }  # fmt: skip


def test_sources_are_recorded_and_may_wait(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[Any] = []

    def flush(deliveries: Any) -> None:
        flushed.append(deliveries)
        raise redis.ConnectionError("away")

    monkeypatch.setattr(bench.executor.process.sources, "flush", flush)
    assert bench.execute() == Report()
    assert flushed == [bench.store.backend.deliveries]


@pytest.mark.parametrize(
    ("replies", "read", "entries", "requeued"),
    [
        ([["entry"]], True, ["entry"], 0),
        ([[]], True, None, 1),  # its entries were deleted
        ([[]], False, [], 0),  # they were not read
        ([None], True, None, 0),  # another process began it
        (["away", ["entry"]], True, ["entry"], 0),
        (["away", None], True, None, 1),  # the first try began it
        (["away", None], False, None, 1),
    ],
)
def test_a_chunk_runs_if_this_process_began_it(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    replies: list[Any],
    read: bool,
    entries: Any,
    requeued: int,
) -> None:
    def begin(*args: Any, **options: Any) -> Any:
        assert options == {"read": read}
        reply = replies.pop(0)
        if reply == "away":
            raise redis.ConnectionError("away")
        return reply

    calls: list[Any] = []
    monkeypatch.setattr(bench.store.backend.chunks, "begin", begin)
    monkeypatch.setattr(bench.store.backend.chunks, "requeue", lambda *args: calls.append(args))
    group = bench.handler.group("order")
    assert bench.executor._begin(group, "chunk", read=read) == entries
    assert calls == [(bench.bus.service.worker, group, "chunk")] * requeued
