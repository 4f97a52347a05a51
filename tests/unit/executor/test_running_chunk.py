"""A chunk at simulated times: when it reports, renews its lease, and ends."""

from __future__ import annotations

import logging
import os
from typing import Any

import pytest
import redis

from celeriac import Event, current_attempt
from celeriac.delivery.chunk_store import ChunkRequest, new_chunk_id
from celeriac.executor.run_limit import RunLimit
from tests.unit.executor.clocked_chunk import INTERVAL, LEASE, RUN, Clocked
from tests.unit.executor.clocked_chunk import bench as bench
from tests.unit.executor.clocked_chunk import bus as bus


def requested(bench: Clocked, count: int = 10) -> ChunkRequest:
    return ChunkRequest(bench.group, new_chunk_id(), count, running=True)


def test_progress_is_reported_at_intervals_and_counted_after_a_while(bench: Clocked) -> None:
    bench.subscribe(bench.run_time)
    bench.emit(12)
    chunk = bench.chunk()
    assert chunk.run(longest=60.0) is True
    assert bench.calls == [
        (0.25, "progress", 2),
        (0.5, "progress", 2),
        (0.75, "progress", 2),
        (1.0, "complete", 2),
        (1.25, "progress", 2),
    ]
    assert bench.completion.counts["claimed"] == 8, "those of all reports"
    assert chunk.complete(None) is None
    assert bench.calls[5:] == [(1.5, "complete", 2)]
    assert bench.stats["busy_us"] == 12 * 125_000
    assert (bench.report.pairs, bench.report.processed, chunk.lost) == (12, 12, False)


def test_statistics_are_counted_a_second_after_they_were_last(bench: Clocked) -> None:
    bench.subscribe(bench.run_time)
    bench.emit(20)
    bench.chunk().run(longest=60.0)
    assert [at for at, what, _ in bench.calls if what == "complete"] == [1.0, 2.0]


def test_a_chunk_ends_on_time_with_a_report_that_counts(bench: Clocked) -> None:
    bench.subscribe(bench.run_time)
    bench.emit(12)
    chunk = bench.chunk()
    assert chunk.run(longest=0.5) is False
    assert bench.calls == [(0.25, "progress", 2), (0.5, "complete", 2)]
    assert len(bench.ran) == 4
    chunk.requeue_rest()
    assert bench.calls[2:] == [(0.5, "requeue", 0)]
    assert len(bench.pending()) == 8


def test_a_chunk_without_time_runs_nothing(bench: Clocked) -> None:
    bench.subscribe(bench.run_time)
    bench.emit(2)
    chunk = bench.chunk()
    assert chunk.run(longest=0.0) is False
    chunk.requeue_rest()
    assert (bench.ran, bench.calls) == ([], [(0.0, "requeue", 0)])


def test_an_exception_is_reported_with_all_before_it(bench: Clocked) -> None:
    """Progress has no exceptions: a completion reports them, before a second has passed."""

    def handle(event: Event[Any]) -> None:
        bench.run_time()
        if len(bench.ran) == 3:
            raise ValueError("no")

    bench.subscribe(handle)
    bench.emit(7)
    bench.chunk().run(longest=60.0)
    assert bench.calls == [(0.25, "progress", 2), (0.5, "complete", 2), (0.75, "progress", 2)]
    assert [one.entry for one in bench.completion.exceptions] == [bench.entries[2]]
    assert (bench.report.processed, len(bench.report.failures)) == (6, 1)


@pytest.mark.parametrize(
    ("age", "renewed"), [(LEASE, 1), (LEASE + 1, 1), (LEASE - RUN / 2, 0), (0.0, 0)]
)
def test_a_lease_that_may_have_expired_is_renewed_before_an_event_runs(
    bench: Clocked, age: float, renewed: int
) -> None:
    bench.subscribe(bench.run_time)
    bench.emit(1)
    chunk = bench.chunk(sure_at=-age)
    assert chunk.run(longest=60.0) is True
    assert bench.calls == [(0.0, "renew", 1)] * renewed
    assert len(bench.ran) == 1


def test_a_report_that_proves_the_lease_saves_its_renewal(bench: Clocked) -> None:
    bench.subscribe(bench.run_time)
    bench.emit(3)
    assert bench.chunk(sure_at=INTERVAL - LEASE).run(longest=60.0) is True
    assert bench.calls == [(0.25, "progress", 2)]


def test_a_renewed_lease_counts_from_then_on(bench: Clocked) -> None:
    bench.subscribe(bench.run_time)
    bench.emit(2)
    assert bench.chunk(sure_at=-LEASE).run(longest=60.0) is True
    assert bench.calls == [(0.0, "renew", 1)]


def test_an_event_longer_than_the_lease_is_reported_before_the_next_runs(bench: Clocked) -> None:
    """The report proves that the chunk is still owned."""

    def handle(event: Event[Any]) -> None:
        bench.now += LEASE

    bench.subscribe(handle)
    bench.emit(3)
    assert bench.chunk().run(longest=60.0) is True
    assert bench.calls == [(4.0, "complete", 1), (8.0, "complete", 1)]


def test_a_chunk_whose_lease_was_lost_runs_nothing(
    bench: Clocked, caplog: pytest.LogCaptureFixture
) -> None:
    bench.owns = lambda: False
    bench.subscribe(bench.run_time)
    bench.emit(3)
    chunk = bench.chunk(sure_at=-LEASE)
    assert chunk.run(longest=60.0) is False
    assert (bench.ran, chunk.lost, bench.report.lost) == ([], True, bench.entries[:1])
    assert "when 3 of its entries up to" in caplog.text
    chunk.requeue_rest()
    assert chunk.complete(None) is None
    assert bench.calls == [(0.0, "renew", 1)], "the others belong to another worker"


def test_the_reply_to_progress_is_read_before_the_second_event_after_it(
    bench: Clocked, caplog: pytest.LogCaptureFixture
) -> None:
    bench.owns = lambda: False
    bench.subscribe(bench.run_time)
    bench.emit(6)
    chunk = bench.chunk()
    assert chunk.run(longest=60.0) is False
    assert len(bench.ran) == 3
    assert bench.report.lost == [bench.entries[1]]
    assert "when 2 of its entries up to" in caplog.text


def test_a_lost_chunk_is_not_renewed(bench: Clocked) -> None:
    """The reply that it was lost arrives after an event as long as the lease."""
    bench.owns = lambda: False

    def handle(event: Event[Any]) -> None:
        bench.now += RUN if len(bench.ran) < 3 else LEASE

    bench.subscribe(handle)
    bench.emit(5)
    assert bench.chunk().run(longest=60.0) is False
    assert bench.calls == [(0.25, "progress", 2)]


def test_the_last_progress_can_lose_the_chunk(bench: Clocked) -> None:
    bench.owns = lambda: False
    bench.subscribe(bench.run_time)
    bench.emit(3)
    chunk = bench.chunk()
    assert chunk.run(longest=60.0) is True, "its reply is not read yet"
    assert chunk.complete(requested(bench)) is None
    assert (chunk.lost, bench.calls) == (True, [(0.25, "progress", 2)])


def test_the_run_time_of_earlier_progress_is_reported_with_the_completion(bench: Clocked) -> None:
    def handle(event: Event[Any]) -> None:
        bench.run_time()
        if len(bench.ran) == 3:
            raise ValueError("no")

    bench.subscribe(handle)
    bench.emit(3)
    chunk = bench.chunk()
    chunk.run(longest=60.0)
    chunk.complete(None)
    assert bench.calls == [(0.25, "progress", 2), (0.375, "complete", 1)]
    assert bench.completion.mean_us == 125_000


def test_unwanted_entries_are_done_without_a_run(bench: Clocked) -> None:
    bench.subscribe(bench.run_time)
    bench.emit(3, "order.paid")
    chunk = bench.chunk()
    assert chunk.run(longest=0.0) is True
    chunk.complete(None)
    assert bench.calls == [(0.0, "complete", 3)]
    assert (bench.completion.record, bench.completion.exceptions) == (b"", [])
    assert (chunk.wanted, bench.report.pairs) == (0, 0)


@pytest.mark.parametrize("types", [["placed"], ["placed", "paid"], ["placed", "placed"], ["paid"]])
def test_whether_several_entries_will_run(bench: Clocked, types: list[str]) -> None:
    bench.subscribe()
    for type in types:
        bench.emit(1, f"order.{type}")
    assert bench.chunk().wants_several() == (types.count("placed") > 1)


# -- positions, for a crash


def test_the_position_of_each_event_counts_from_the_end(bench: Clocked) -> None:
    bench.subscribe(bench.run_time)
    bench.emit(1)
    bench.emit(1, "order.paid")
    bench.emit(2)
    bench.chunk().run(longest=60.0)
    assert bench.positions == [(4, 3), (2, 1), (1, 0)]


# -- a slow event


@pytest.mark.parametrize("batch", [None, 1])
def test_entries_behind_a_slow_event_do_not_begin(bench: Clocked, batch: int | None) -> None:
    def handle(event: Any) -> None:
        bench.run_time()
        if len(bench.ran) == 2:
            assert not chunk._limit.requeue_behind(0.0)
            assert chunk._limit.requeue_behind(60.0)

    bench.subscribe(handle, **({"batch": batch} if batch else {}))
    bench.emit(5)
    chunk = bench.chunk()
    assert chunk.run(longest=60.0) is False
    assert len(bench.ran) == 2
    assert len(bench.pending()) == 3
    position = bench.executor.process.shared_progress.chunk_of(os.getpid())
    assert position is not None
    assert (position.first, position.end) == (1, 0), "of the two entries that are left"


class Withdrawn(RunLimit):
    """The other thread withdraws its requeue: the event has ended at that moment."""

    def stops(self, part: int) -> bool:
        if part > self.end:
            self.end = self.count
        return False


@pytest.mark.parametrize("batch", [None, 1])
def test_a_requeue_that_is_withdrawn_ends_no_chunk(bench: Clocked, batch: int | None) -> None:
    options: dict[str, Any] = {"batch": batch} if batch else {}
    bench.subscribe(**options)
    bench.emit(3)
    chunk = bench.chunk()
    chunk._limit = Withdrawn(3, chunk._requeue_after)
    chunk._limit.end = 1
    assert chunk.run(longest=60.0) is True
    assert len(bench.ran) == 3


def test_a_result_whose_note_was_interrupted_is_not_reported(bench: Clocked) -> None:
    """Its entry runs again."""
    bench.subscribe(bench.run_time)
    bench.emit(3)
    chunk = bench.chunk()
    assert chunk.run(longest=RUN) is False
    chunk._unreported.of_type("order.placed").add(bench.entries[1], 1)
    chunk.requeue_rest()
    assert bench.completion.counts["processed"] == 1
    assert len(bench.pending()) == 2


@pytest.mark.parametrize("batch", [None, 2])
def test_events_of_a_chunk_are_in_their_first_attempt(bench: Clocked, batch: int | None) -> None:
    attempts: list[int] = []
    bench.subscribe(
        lambda event: attempts.append(current_attempt()), **({"batch": batch} if batch else {})
    )
    bench.emit(2)
    bench.chunk().run(longest=60.0)
    assert set(attempts) == {1}


# -- the next chunk


def test_the_next_chunk_is_fetched_with_the_completion(bench: Clocked) -> None:
    bench.subscribe()
    bench.emit(2)
    chunk = bench.chunk()
    chunk.run(longest=60.0)
    bench.emit(3)
    request = requested(bench)
    fetched = chunk.complete(request)
    assert fetched is not None and len(fetched.entries) == 3
    position = bench.executor.process.shared_progress.chunk_of(os.getpid())
    assert position is not None and position.following == request.chunk
    assert [one.id for one in bench.chunks.open_chunks(bench.group)] == [request.chunk]


def test_after_a_failed_fetch_the_results_are_reported_and_the_new_chunk_requeued(
    bench: Clocked, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*args: Any) -> Any:
        raise redis.ConnectionError("reset")

    monkeypatch.setattr(bench.chunks, "complete_and_fetch", away)
    bench.subscribe()
    bench.emit(2)
    chunk = bench.chunk()
    chunk.run(longest=60.0)
    assert chunk.complete(requested(bench)) is None
    assert [(what, count) for _, what, count in bench.calls] == [("complete", 2), ("requeue", 0)]


def test_a_chunk_that_was_lost_when_it_fetched_the_next_is_logged(
    bench: Clocked, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = bench.chunks.complete_and_fetch
    monkeypatch.setattr(bench.chunks, "complete_and_fetch", lambda *args: (False, real(*args)[1]))
    bench.subscribe()
    bench.emit(2)
    chunk = bench.chunk()
    chunk.run(longest=60.0)
    with caplog.at_level(logging.WARNING):
        assert chunk.complete(requested(bench)) is not None
    assert "when 2 of its entries up to" in caplog.text
    assert bench.report.lost == bench.entries[-1:]


def test_nothing_is_reported_twice(bench: Clocked) -> None:
    bench.subscribe()
    bench.emit(2)
    chunk = bench.chunk()
    chunk.run(longest=60.0)
    chunk.complete(None)
    chunk.requeue_rest()
    assert chunk.complete(requested(bench)) is None
    assert bench.calls == [(0.0, "complete", 2)]
