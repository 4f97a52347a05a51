"""Which entries of a dead process's chunk failed with it, and what is reported about each."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import pytest

from celeriac.delivery import Completion, Outcome
from celeriac.delivery.chunk_store import ChunkCompletion
from celeriac.event import event_key
from celeriac.executor.abandoned_chunk import abandon_chunk
from tests.unit.executor.test_chunk_executor import Bench, bench

__all__ = ["bench"]
PID = os.getpid() + 1
REQUEUED, RETRY, DEAD = Outcome.REQUEUED, Outcome.RETRY, Outcome.DEAD


def abandon(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, chunk: str, *, first: int, end: int
) -> tuple[int, ChunkCompletion | None]:
    """The process PID died in the chunk: from its `first` last entry on, except the `end` last."""
    shared = bench.executor.process.shared_progress
    monkeypatch.setattr("celeriac.executor.shared_progress.os.getpid", lambda: PID)
    shared.begin_chunk(chunk)
    shared.enter(first, end)
    monkeypatch.undo()
    reported: list[ChunkCompletion] = []
    complete = bench.chunks.complete

    def note(worker: str, group: Any, id: str, completion: ChunkCompletion) -> bool:
        assert id == chunk
        reported.append(completion)
        return complete(worker, group, id, completion)

    monkeypatch.setattr(bench.chunks, "complete", note)
    error = RuntimeError("SIGSEGV")
    failed = abandon_chunk(bench.executor.process, bench.handler, "order", chunk, error, PID)
    return failed, reported[0] if reported else None


def outcomes(completions: Sequence[Completion]) -> list[Outcome]:
    return [one.outcome for one in completions]


@pytest.mark.parametrize(
    ("first", "end", "failed", "expected"),
    [
        (4, 3, 1, [DEAD]),
        (3, 2, 1, [REQUEUED, DEAD]),
        (1, 0, 1, [REQUEUED, REQUEUED, REQUEUED, DEAD]),
        (3, 1, 2, [REQUEUED, RETRY, RETRY]),
        (2, 2, 0, None),
        (0, 0, 0, None),
    ],
)
def test_the_running_entries_failed_and_those_before_them_run_again(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    first: int,
    end: int,
    failed: int,
    expected: list[Outcome] | None,
) -> None:
    """Of several, none is dead-lettered; the entries behind them are requeued."""
    bench.subscribe(retries=0)
    ids = bench.emit(4)
    chunk, fetched = bench.fetch()
    count, completion = abandon(bench, monkeypatch, chunk, first=first, end=end)
    assert count == failed
    assert bench.chunks.open_chunks(bench.group) == []
    if expected is None:
        assert completion is None
        return
    assert completion is not None
    assert outcomes(completion.exceptions) == expected
    done = len(expected)
    assert (completion.done, completion.until) == (done, fetched.entries[done - 1].id)
    for n, one in enumerate(completion.exceptions):
        assert (one.entry, one.attempt, one.took_us) == (fetched.entries[n].id, 1, 0)
        assert one.event_key == event_key(ids[n], "billing")


def test_a_thread_that_ended_leaves_the_chunks_of_its_process(bench: Bench) -> None:
    """Others of its threads continue; only the chunk of its task is requeued."""
    bench.subscribe()
    bench.emit(2)
    own, other = bench.fetch(1)[0], bench.fetch(1)[0]
    bench.executor.process.shared_progress.begin_chunk(other)
    bench.executor.process.shared_progress.enter(1, 0)
    error = RuntimeError("ended")
    process = bench.executor.process
    assert abandon_chunk(process, bench.handler, "order", own, error, os.getpid()) == 0
    assert [one.id for one in bench.chunks.open_chunks(bench.group)] == [other]


@pytest.mark.parametrize("running", [False, True])
def test_the_chunks_of_this_worker_are_requeued_whether_queued_or_running(
    bench: Bench, running: bool
) -> None:
    bench.subscribe()
    bench.emit(1)
    chunk, _ = bench.fetch(running=running)
    error = RuntimeError("ended")
    assert abandon_chunk(bench.executor.process, bench.handler, "order", chunk, error, None) == 0
    assert bench.pending() == [("scheduled", 0)]


def test_a_position_in_a_chunk_that_is_not_open_fails_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.subscribe()
    bench.emit(1)
    chunk, _ = bench.fetch()
    bench.chunks.requeue(bench.bus.service.worker, bench.group, chunk)
    assert abandon(bench, monkeypatch, chunk, first=1, end=0) == (0, None)
