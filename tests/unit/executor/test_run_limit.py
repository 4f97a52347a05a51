"""The parts of a task behind one that runs long: each is requeued, or begins, but never both."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator

import pytest

from celeriac.executor.run_limit import LONGEST_RUN, RunLimit

PARTS = 100_000  # so many that the other thread gets its turn before the last


@pytest.fixture
def requeued() -> list[int]:
    """The numbers that were passed to `requeue`."""
    return []


def at(limit: RunLimit, part: int, *times: float) -> list[bool]:
    """Begin the part, and return what the checks at these times requeue."""
    limit.running = part
    return [limit.requeue_behind(time) for time in times]


def test_a_part_that_runs_long_ends_the_task(requeued: list[int]) -> None:
    limit = RunLimit(5, requeued.append)
    assert at(limit, 2, 10.0, 10.0 + LONGEST_RUN / 2) == [False, False]
    assert at(limit, 2, 10.0 + LONGEST_RUN, 20.0) == [True, False]
    assert requeued == [2]
    assert limit.is_requeued
    assert (limit.end, limit.stops(2), limit.stops(3)) == (2, False, True)


def test_the_time_of_each_part_counts_alone(requeued: list[int]) -> None:
    limit = RunLimit(9, requeued.append)
    for part in range(1, 8):
        assert at(limit, part, part * LONGEST_RUN) == [False]
    assert requeued == []


@pytest.mark.parametrize("part", [0, 5])
def test_nothing_is_requeued_before_the_first_part_or_behind_the_last(
    requeued: list[int], part: int
) -> None:
    assert at(RunLimit(5, requeued.append), part, 10.0, 20.0, 30.0) == [False] * 3
    assert requeued == []


def test_a_task_that_has_not_begun_requeues_nothing(requeued: list[int]) -> None:
    limit = RunLimit(5, requeued.append)
    assert [limit.requeue_behind(time) for time in (10.0, 20.0, 30.0)] == [False] * 3
    assert requeued == []


def test_a_task_that_has_ended_requeues_its_rest_itself(requeued: list[int]) -> None:
    limit = RunLimit(5, requeued.append)
    assert at(limit, 2, 10.0) == [False]
    limit.close()
    assert at(limit, 2, 20.0) == [False]
    assert (requeued, limit.is_requeued) == ([], False)


class Moving(RunLimit):
    """A part ends at the moment in which the other thread looks: `running` has the numbers that it
    reads, in order."""

    reads: list[int]

    @property
    def running(self) -> int:
        return self.reads.pop(0)

    @running.setter
    def running(self, part: int) -> None:
        self.reads = [part]


def test_a_part_that_ends_at_the_moment_of_the_check_requeues_nothing(requeued: list[int]) -> None:
    limit = Moving(5, requeued.append)
    assert at(limit, 2, 10.0) == [False]
    limit.reads = [2, 3]
    assert limit.requeue_behind(20.0) is False
    assert (requeued, limit.end, limit.is_requeued) == ([], 5, False)


@pytest.mark.parametrize(("part", "stops"), [(1, False), (2, False), (3, True), (4, True)])
def test_the_last_part_that_may_run_is_the_end(part: int, stops: bool) -> None:
    limit = RunLimit(5, lambda part: None)
    limit.end = 2
    assert limit.stops(part) is stops


def test_a_requeue_that_fails_is_tried_again_and_nothing_begins() -> None:
    failures = [ConnectionError("reset")]

    def requeue(part: int) -> None:
        if failures:
            raise failures.pop()

    limit = RunLimit(5, requeue)
    limit.running = 2
    limit.requeue_behind(10.0)
    with pytest.raises(ConnectionError):
        limit.requeue_behind(20.0)
    assert (limit.stops(3), limit.is_requeued) == (True, False)
    assert limit.requeue_behind(21.0)


def run_and_requeue() -> tuple[int, int]:
    """Return how many parts of a task began, and how many were not requeued."""
    requeued: list[int] = []

    def requeue(kept: int) -> None:
        time.sleep(0.0001)  # meanwhile the parts run as far as they may
        requeued.append(kept)

    limit, started = RunLimit(PARTS, requeue), threading.Event()

    def watch() -> None:
        started.set()
        while not limit.requeue_behind(1.0) and limit.running < PARTS:
            pass

    def run() -> int:
        for part in range(1, PARTS + 1):
            limit.running = part
            if part > limit.end and limit.stops(part):
                return part - 1
        return PARTS

    watching = threading.Thread(target=watch)
    watching.start()
    started.wait(10)
    begun = run()
    limit.close()
    watching.join()
    return begun, requeued[0] if requeued else PARTS


@pytest.fixture
def eager_threads() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("eager_threads")
def test_a_part_is_requeued_or_begins_but_never_both(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread runs parts as fast as it can, and another one requeues at every moment."""
    monkeypatch.setattr("celeriac.executor.run_limit.LONGEST_RUN", 0.0)
    ends = [run_and_requeue() for _ in range(300)]
    assert all(begun == kept for begun, kept in ends)
    assert any(kept < PARTS for _, kept in ends), "nothing was requeued"
