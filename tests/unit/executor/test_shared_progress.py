"""For which event a crash of a pool process counts."""

from __future__ import annotations

import os
from typing import Any

import pytest

from celeriac import Event
from celeriac.delivery import DeliveryState
from celeriac.executor.shared_progress import ChunkPosition, SharedProgress
from tests.unit.executor.conftest import Bench

PAIRS = [(f"{n}-0", f"e{n}") for n in range(5)]


def in_child(do: Any) -> int:
    """Runs it in a forked process, which ends without cleaning up as if it was killed."""
    pid = os.fork()
    if not pid:
        try:
            do()
        finally:
            os._exit(9)
    os.waitpid(pid, 0)
    return pid


def test_a_parent_reads_where_its_dead_child_was() -> None:
    shared_progress = SharedProgress()

    def crash() -> None:
        shared_progress.begin("billing.h", "order", PAIRS)
        shared_progress.enter(0, 1)
        shared_progress.enter(3, 4)

    pid = in_child(crash)
    assert range(3, 4) == shared_progress.of(pid, "billing.h", "order", PAIRS)


def test_a_process_with_another_chunk_or_none_reports_nothing() -> None:
    shared_progress = SharedProgress()
    pid = in_child(lambda: shared_progress.begin("billing.h", "order", PAIRS))
    assert None is shared_progress.of(pid, "billing.h", "order", PAIRS)
    assert None is shared_progress.of(pid + 4096, "billing.h", "order", PAIRS)
    assert None is shared_progress.of(None, "billing.h", "order", PAIRS)

    def crash() -> None:
        shared_progress.begin("billing.h", "order", PAIRS)
        shared_progress.enter(1, 2)

    pid = in_child(crash)
    assert None is shared_progress.of(pid, "billing.h", "order", PAIRS[1:])
    assert None is shared_progress.of(pid, "billing.other", "order", PAIRS)
    assert range(1, 2) == shared_progress.of(pid, "billing.h", "order", PAIRS)


CHUNK, NEXT = "00000000000000ff", "0123456789abcdef"


def test_a_new_task_has_no_position() -> None:
    """Nor has a new chunk, and none that follows it."""
    shared, pid = SharedProgress(), os.getpid()
    assert shared.chunk_of(pid) is None
    shared.begin("billing.h", "order", PAIRS)
    shared.enter(3, 4)
    shared.begin("billing.h", "order", PAIRS)
    assert shared.of(pid, "billing.h", "order", PAIRS) is None
    shared.begin_chunk(CHUNK)
    shared.enter(3, 2)
    shared.expect_chunk(NEXT)
    assert shared.chunk_of(pid) == ChunkPosition(CHUNK, 3, 2, NEXT)
    shared.begin_chunk(NEXT)
    assert shared.chunk_of(pid) == ChunkPosition(NEXT, 0, 0, "0" * 16)


@pytest.mark.parametrize("other", [4096, 1, None])
def test_another_process_has_no_position(other: int | None) -> None:
    shared = SharedProgress()
    shared.begin_chunk(CHUNK)
    assert shared.chunk_of(other and os.getpid() + other) is None


@pytest.mark.parametrize(
    ("position", "fewer", "shortened"),
    [((5, 4), 2, (3, 2)), ((5, 4), 4, (1, 0)), ((5, 1), 3, (2, 0)), ((0, 0), 1, (0, 0))],
)
def test_a_shorter_chunk_moves_the_position(
    position: tuple[int, int], fewer: int, shortened: tuple[int, int]
) -> None:
    shared = SharedProgress()
    shared.begin_chunk(CHUNK)
    shared.enter(*position)
    shared.shorten_chunk(fewer)
    found = shared.chunk_of(os.getpid())
    assert found is not None
    assert (found.first, found.end) == shortened


@pytest.mark.parametrize(
    ("first", "end", "left", "running"),
    [(3, 2, 5, range(2, 3)), (5, 0, 5, range(5)), (9, 1, 3, range(2)), (2, 1, 2, range(1))],
)
def test_a_position_counts_from_the_end_of_what_is_left(
    first: int, end: int, left: int, running: range
) -> None:
    assert ChunkPosition(CHUNK, first, end, NEXT).of([None] * left) == running


@pytest.mark.parametrize(
    "pairs", [PAIRS[1:], PAIRS[:-1], [*PAIRS[:2], *PAIRS[3:]], [("9-9", ""), *PAIRS[1:]]]
)
def test_a_task_is_recognized_by_its_first_and_last_entry_and_its_size(
    pairs: list[tuple[str, str]],
) -> None:
    shared = SharedProgress()
    shared.begin("billing.h", "order", PAIRS)
    shared.enter(0, 1)
    assert shared.of(os.getpid(), "billing.h", "order", PAIRS) == range(1)
    assert shared.of(os.getpid(), "billing.h", "order", pairs) is None
    assert shared.of(os.getpid(), "billing.h", "stock", PAIRS) is None


def crashed(bench: Bench, at: str, **options: Any) -> None:
    """A pool process of the worker runs a chunk of five and dies at one of them."""

    def handle(event: Event) -> None:
        if event.id == at:
            os._exit(9)

    handler = bench.subscribe(handle, **options)
    bench.emit(*"abcde")
    pairs = bench.queue()
    # What a process of its own does with a store in memory dies with it: here is what Redis has.
    worker = bench.bus.service.worker
    most = handler.failure.max_attempts
    pid = in_child(lambda: bench.execute(pairs))
    bench.store.deliveries.claim(worker, bench.group, pairs, most)
    bench.executor.abandon(handler, "order", pairs, RuntimeError("SIGKILL"), pid)


def test_a_crash_in_a_chunk_counts_for_the_running_event_alone(bench: Bench) -> None:
    crashed(bench, at="c", backoff=60.0)
    taken = [(id, attempts) for id, attempts in due(bench)]
    assert [(id, 0) for id in "abde"] == taken
    assert ["c"] == [
        id for id in "abcde" if bench.store.deliveries.failures(bench.group, bench.key(id))
    ]
    assert DeliveryState.SCHEDULED is bench.place("c")


def test_a_crash_in_a_chunk_without_retries_is_final_for_the_running_event(bench: Bench) -> None:
    crashed(bench, at="c", retries=0)
    assert ["c"] == [letter.event_id for letter in bench.store.deliveries.dead("order")]
    assert list("abde") == [id for id, _ in due(bench)]


def test_neighbours_of_a_crash_run_in_company_again(bench: Bench) -> None:
    """Each alone would be hundreds of tasks for each crash."""
    crashed(bench, at="a", retries=0)
    bench.handler = bench.bus.service.handlers["billing.handle"]
    pairs = bench.queue()
    report = bench.execute(pairs)
    assert (4, 4) == (len(pairs), report.processed)


def due(bench: Bench) -> list[tuple[str, int]]:
    pending = bench.store.deliveries.pending_between(bench.group, "-", "+")
    ids = {e.id: id for e, id in zip(bench.store.event_log.read("order"), "abcde", strict=True)}
    now = bench.store.registry.now_ms()
    return [
        (ids[one.entry], one.attempts)
        for one in pending
        if one.due_ms is not None and one.due_ms <= now
    ]
