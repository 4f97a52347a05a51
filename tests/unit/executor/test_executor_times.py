"""A task at simulated times: when it ends early, and what it records for a crash."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from celeriac import Event, EventBus
from celeriac.delivery import Group
from celeriac.executor import executor
from celeriac.executor.run_limit import RunLimit
from celeriac.testing.store import Store
from tests.unit.executor.conftest import Bench

CHUNK_TIME = 0.25
LONGEST = 10 * CHUNK_TIME


class Clocked(Bench):
    """`run` subscribes a handler whose events take these seconds each, and runs all that waits."""

    def __init__(self, bus: EventBus, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(bus, store)
        self.now = 100.0
        self.ran: list[str] = []
        self.takes: dict[str, float] = {}
        self.positions: list[tuple[int, int]] = []
        self.limits: list[RunLimit] = []
        self.during: Callable[[], None] = lambda: None
        monkeypatch.setattr(executor, "time", SimpleNamespace(monotonic=lambda: self.now))
        shared = self.executor.process.shared_progress
        monkeypatch.setattr(shared, "enter", lambda *at: self.positions.append(at))
        monkeypatch.setattr(executor, "RunLimit", self._limit)

    def _limit(self, count: int, requeue: Callable[[int], None]) -> RunLimit:
        self.limits.append(RunLimit(count, requeue))
        return self.limits[-1]

    def on_order(self, **options: Any) -> None:
        def handle(events: Any) -> None:
            for event in events if "batch" in options else [events]:
                self.ran.append(event.id)
                self.now += self.takes.get(event.id, 0.0)
            self.during()

        handle.__annotations__["events"] = list[Event[Any]] if "batch" in options else Event[Any]
        self.subscribe(handle, **options)


@pytest.fixture
def bus() -> EventBus:
    return EventBus(service="billing", redis_url="redis://127.0.0.1:1/0", chunk_time=CHUNK_TIME)


@pytest.fixture
def bench(bus: EventBus, store: Store, monkeypatch: pytest.MonkeyPatch) -> Clocked:
    return Clocked(bus, store, monkeypatch)


def owners(bench: Clocked) -> list[str]:
    return [one.owner for one in bench.store.deliveries.pending_between(bench.group, "-", "+")]


@pytest.mark.parametrize(
    ("takes", "ran"), [(LONGEST, "abc"), (LONGEST + 0.25, "a"), (LONGEST / 2, "abc")]
)
def test_a_task_ends_after_ten_times_its_planned_time(
    bench: Clocked, takes: float, ran: str
) -> None:
    bench.takes = {"a": takes}
    bench.on_order()
    bench.emit(*"abc")
    report = bench.execute()
    assert "".join(bench.ran) == ran
    assert owners(bench) == ["scheduled"] * (3 - len(ran))
    assert (report.lost, report.pairs) == ([], 3)


@pytest.mark.parametrize(("takes", "ran"), [(1.0, "ab"), (1.25, "a")])
def test_a_task_with_little_planned_time_may_take_a_second(
    store: Store, monkeypatch: pytest.MonkeyPatch, takes: float, ran: str
) -> None:
    bus = EventBus(service="billing", redis_url="redis://127.0.0.1:1/0", chunk_time=0.05)
    bench = Clocked(bus, store, monkeypatch)
    bench.takes = {"a": takes}
    bench.on_order()
    bench.emit(*"ab")
    bench.execute()
    assert "".join(bench.ran) == ran


@pytest.mark.parametrize(
    ("ids", "after", "runs"), [("cd", 0.75, False), ("cd", 1.0, True), ("c", 0.0, True)]
)
def test_for_a_second_after_that_only_a_lone_event_runs(
    bench: Clocked, ids: str, after: float, runs: bool
) -> None:
    bench.takes = {"a": LONGEST + 1.0}
    bench.on_order()
    bench.emit(*"ab")
    first = bench.queue()
    bench.emit(*ids)
    second = bench.queue()
    bench.execute(first)
    bench.now += after
    report = bench.execute(second)
    assert "".join(bench.ran[1:]) == (ids if runs else "")
    assert (report.processed, report.lost) == (len(ids) if runs else 0, [])


@pytest.mark.parametrize(("late", "renewals"), [(-0.25, 0), (0.0, 1), (0.25, 1)])
def test_leases_are_renewed_if_the_claim_took_as_long_as_a_lease(
    bench: Clocked, monkeypatch: pytest.MonkeyPatch, late: float, renewals: int
) -> None:
    renewed: list[Any] = []
    claim = bench.store.deliveries.claim

    def slow(*args: Any, **options: Any) -> Any:
        bench.now += bench.bus.settings.lease + late
        return claim(*args, **options)

    def renew(worker: str, group: Group, leases: Any) -> list[str]:
        renewed.append(leases)
        return []

    monkeypatch.setattr(bench.store.deliveries, "claim", slow)
    monkeypatch.setattr(bench.store.deliveries, "renew", renew)
    bench.on_order()
    bench.emit(*"ab")
    task = bench.queue()
    bench.execute(task)
    assert renewed == [[(entry, 1) for entry, _ in task]] * renewals
    assert bench.ran == ["a", "b"]


@pytest.mark.parametrize(
    ("ids", "batch", "positions"),
    [
        ("a", None, []),
        ("ab", None, [(0, 1), (1, 2)]),
        ("abcde", 2, [(0, 2), (2, 4), (4, 5)]),
    ],
)
def test_the_position_in_a_task_of_several_events_is_recorded(
    bench: Clocked, ids: str, batch: int | None, positions: list[tuple[int, int]]
) -> None:
    """A lone event needs none: a crash counts for it."""
    begun: list[Any] = []
    shared = bench.executor.process.shared_progress
    shared.begin = lambda *task: begun.append(task)  # type: ignore[method-assign]
    bench.on_order(**({"batch": batch} if batch else {}))
    bench.emit(*ids)
    task = bench.queue()
    bench.execute(task)
    assert bench.positions == positions
    assert begun == ([("billing.handle", "order", task)] if positions else [])


@pytest.mark.parametrize("batch", [None, 1])
def test_what_is_requeued_behind_a_slow_event_is_neither_run_nor_kept(
    bench: Clocked, monkeypatch: pytest.MonkeyPatch, batch: int | None
) -> None:
    kept: list[dict[str, int]] = []
    keeping = bench.executor.process.leases.keeping

    def noted(group: Group, leases: dict[str, int]) -> Any:
        kept.append(leases)
        return keeping(group, leases)

    def requeue() -> None:
        if len(bench.ran) == 2:
            [limit] = bench.limits
            assert not limit.requeue_behind(0.0)
            assert limit.requeue_behind(60.0)
            assert list(kept[0]) == [entry for entry, _ in task[:2]]
            assert owners(bench)[2:] == ["scheduled"] * 2

    monkeypatch.setattr(bench.executor.process.leases, "keeping", noted)
    monkeypatch.setattr("celeriac.executor.completion_reporter.REPORT_INTERVAL", 60.0)
    bench.during = requeue
    bench.on_order(**({"batch": batch} if batch else {}))
    bench.emit(*"abcd")
    task = bench.queue()
    report = bench.execute(task)
    assert (bench.ran, report.processed, report.lost) == (["a", "b"], 2, [])


class Withdrawn(RunLimit):
    """The other thread withdraws its requeue: the part has ended at that moment."""

    def stops(self, part: int) -> bool:
        if part > self.end:
            self.end = self.count
        return False


def test_a_requeue_that_is_withdrawn_ends_no_task(
    bench: Clocked, monkeypatch: pytest.MonkeyPatch
) -> None:
    def limit(count: int, requeue: Callable[[int], None]) -> RunLimit:
        made = Withdrawn(count, requeue)
        made.end = 1
        return made

    monkeypatch.setattr(executor, "RunLimit", limit)
    bench.on_order()
    bench.emit(*"abc")
    assert bench.execute().processed == 3
