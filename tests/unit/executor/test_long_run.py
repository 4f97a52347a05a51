"""An event that runs long keeps no other event of its task waiting."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import redis

from celeriac import Event
from celeriac.delivery import FetchRequest
from celeriac.delivery.chunk_store import ChunkRequest, new_chunk_id
from celeriac.executor import Report, run_limit
from tests.unit.executor.conftest import Bench
from tests.unit.executor.test_lease import eventually


@pytest.fixture(autouse=True)
def frequent_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is brief only for the event that blocks: any other may take 20 ms."""
    monkeypatch.setattr(run_limit, "LONGEST_RUN", 60.0)
    monkeypatch.setattr("celeriac.executor.lease.CHECK", 0.01)


class Blocking:
    """Handles events, and blocks in the one at index `at` until `holds`."""

    def __init__(self, at: int, holds: Callable[[], Any]) -> None:
        self.at, self.holds = at, holds
        self.ran: list[str] = []

    def __call__(self, event: Event[Any]) -> None:
        self.ran.append(event.id)
        if len(self.ran) == self.at + 1:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(run_limit, "LONGEST_RUN", 0.02)
                assert eventually(self.holds)


def subscribe(bench: Bench, function: Callable[..., Any], batch: int | None = None) -> list[str]:
    """Register the handler, emit five events, and return their ids."""

    def handle(event: Any) -> None:
        for one in event if batch else [event]:
            function(one)

    handle.__annotations__["event"] = list[Event[Any]] if batch else Event[Any]
    bench.subscribe(handle, batch=batch)
    return [bench.bus.emit("order.placed") for _ in range(5)]


def run_chunk(bench: Bench) -> Report:
    request = ChunkRequest(bench.group, new_chunk_id(), 100)
    [fetched] = bench.store.backend.chunks.fetch(bench.bus.service.worker, [request])
    execute = bench.executor.chunks.execute
    return execute(bench.handler, "order", request.chunk, fetched.entries)


def run_task(bench: Bench) -> Report:
    return bench.execute()


def scheduled(bench: Bench) -> list[int]:
    """Return the attempts of the deliveries that are due now."""
    pending = bench.store.deliveries.pending_between(bench.group, "-", "+")
    return [one.attempts for one in pending if one.owner == "scheduled"]


def claim_elsewhere(bench: Bench) -> list[str]:
    """Claim what is due for another worker; return the owners of all pending deliveries."""
    request = FetchRequest(bench.group, limit=100)
    [fetched] = bench.store.deliveries.fetch("other", [request])
    if pairs := [(delivery.entry, "") for delivery in fetched.deliveries]:
        bench.store.deliveries.claim("other", bench.group, pairs, 9)
    pending = bench.store.deliveries.pending_between(bench.group, "-", "+")
    return [one.owner for one in pending if one.owner.endswith("other")]


RUNS = pytest.mark.parametrize("run", [run_chunk, run_task])


@RUNS
def test_the_events_behind_it_are_requeued_while_it_runs(
    bench: Bench, run: Callable[[Bench], Report]
) -> None:
    blocking = Blocking(1, lambda: len(scheduled(bench)) == 3)
    ids = subscribe(bench, blocking)
    report = run(bench)
    assert blocking.ran == ids[:2]
    assert report.processed == 2
    assert report.lost == []
    assert scheduled(bench) == [0, 0, 0], "no attempt is counted"
    assert bench.store.backend.chunks.open_chunks(bench.group) == []
    assert bench.execute().processed == 3
    assert blocking.ran == ids


@RUNS
def test_another_worker_runs_them_before_it_ends(
    bench: Bench, run: Callable[[Bench], Report]
) -> None:
    blocking = Blocking(0, lambda: claim_elsewhere(bench) == ["running:other"] * 4)
    ids = subscribe(bench, blocking)
    report = run(bench)
    assert (blocking.ran, report.processed, report.lost) == (ids[:1], 1, [])
    assert claim_elsewhere(bench) == ["running:other"] * 4


@RUNS
def test_the_batches_behind_it_are_requeued(bench: Bench, run: Callable[[Bench], Report]) -> None:
    blocking = Blocking(1, lambda: len(scheduled(bench)) == 3)
    ids = subscribe(bench, blocking, batch=2)
    assert run(bench).processed == 2
    assert blocking.ran == ids[:2]


@RUNS
def test_redis_may_be_away_when_they_should_be_requeued(
    bench: Bench,
    run: Callable[[Bench], Report],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    chunks, deliveries = bench.store.backend.chunks, bench.store.deliveries
    requeue, complete = chunks.requeue, deliveries.complete
    tries: list[int] = []

    def away(*args: Any, **options: Any) -> Any:
        tries.append(1)
        raise redis.ConnectionError("reset")

    def holds() -> bool:
        if len(tries) < 2:
            return False
        monkeypatch.setattr(chunks, "requeue", requeue)
        monkeypatch.setattr(deliveries, "complete", complete)
        return True

    monkeypatch.setattr(chunks, "requeue", away)
    monkeypatch.setattr(deliveries, "complete", away)
    blocking = Blocking(1, holds)
    ids = subscribe(bench, blocking)
    with caplog.at_level(logging.WARNING):
        report = run(bench)
    assert (blocking.ran, report.processed, report.lost) == (ids[:2], 2, [])
    assert scheduled(bench) == [0, 0, 0]
    assert "deliveries behind one that runs long were not requeued: reset" in caplog.text


def test_a_crash_counts_for_the_event_that_ran_long(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although the chunk has become shorter, and positions count from its end."""
    found: Sequence[int] = ()
    shared = bench.executor.process.shared_progress

    def is_requeued() -> bool:
        nonlocal found
        position = shared.chunk_of(os.getpid())
        assert position is not None
        chunks = bench.store.backend.chunks
        [open_chunk] = chunks.open_chunks(bench.group)
        found = position.of(chunks.remaining(bench.group, open_chunk))
        return len(scheduled(bench)) == 2 and found == range(2, 3)

    subscribe(bench, Blocking(2, is_requeued))
    monkeypatch.setattr("celeriac.executor.running_chunk.REPORT_INTERVAL", 60.0)
    run_chunk(bench)
    assert found == range(2, 3)
