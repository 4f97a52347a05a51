"""A chunk whose events run at simulated times."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from celeriac import EventBus
from celeriac.delivery.chunk_store import ChunkCompletion
from celeriac.delivery.pending_reply import ReceivedReply
from celeriac.executor import Report, running_chunk
from celeriac.executor.running_chunk import RunningChunk
from celeriac.testing.store import Store
from tests.unit.executor.test_chunk_executor import Bench

LEASE, INTERVAL, COUNT_AFTER = 4.0, 0.25, 1.0
RUN = 0.125  # seconds that each event runs


class Clocked(Bench):
    """A handler whose events take RUN seconds each. `calls` has what it asked of the store: the
    time, what, and how many entries; `completion` is the last one."""

    completion: ChunkCompletion

    def __init__(self, bus: EventBus, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(bus, store)
        self.now = 0.0
        self.calls: list[tuple[float, str, int]] = []
        self.positions: list[tuple[int, int]] = []
        self.owns: Callable[[], bool] = lambda: True
        monkeypatch.setattr(running_chunk, "time", SimpleNamespace(monotonic=lambda: self.now))
        monkeypatch.setattr(running_chunk, "REPORT_INTERVAL", INTERVAL)
        monkeypatch.setattr(running_chunk, "COUNT_AFTER", COUNT_AFTER)
        chunks = self.chunks
        progress, complete = chunks.begin_progress, chunks.complete
        renew, requeue = chunks.renew, chunks.requeue

        def begin_progress(worker: str, group: Any, chunk: str, report: Any) -> Any:
            self._called("progress", report.done)
            reply = progress(worker, group, chunk, report)
            return reply if self.owns() else ReceivedReply(False)

        def completed(worker: str, group: Any, chunk: str, report: Any) -> bool:
            self._called("complete", report.done)
            self.completion = report
            return complete(worker, group, chunk, report) and self.owns()

        def renewed(worker: str, group: Any, ids: Sequence[str]) -> list[str]:
            self._called("renew", len(ids))
            return renew(worker, group, ids) if self.owns() else list(ids)

        def requeued(worker: str, group: Any, chunk: str, after: str | None = None) -> Any:
            self._called("requeue", 0)
            return requeue(worker, group, chunk, after=after)

        monkeypatch.setattr(chunks, "begin_progress", begin_progress)
        monkeypatch.setattr(chunks, "complete", completed)
        monkeypatch.setattr(chunks, "renew", renewed)
        monkeypatch.setattr(chunks, "requeue", requeued)

    def _called(self, what: str, entries: int) -> None:
        self.calls.append((self.now, what, entries))

    def run_time(self, event: Any = None) -> None:
        position = self.executor.process.shared_progress.chunk_of(os.getpid())
        assert position is not None
        self.positions.append((position.first, position.end))
        self.now += RUN

    def chunk(self, *, sure_at: float = 0.0, **options: bool) -> RunningChunk:
        """Fetch all that waits as a chunk that begins now."""
        self.report = Report()
        chunk, fetched = self.fetch(running=True)
        self.entries = [entry.id for entry in fetched.entries]
        return RunningChunk(
            self.executor.process, self.handler, self.group, chunk, fetched.entries, self.report,
            sure_at, **options,
        )  # fmt: skip


@pytest.fixture
def bus() -> EventBus:
    return EventBus(service="billing", redis_url="redis://127.0.0.1:1/0", lease=LEASE)


@pytest.fixture
def bench(bus: EventBus, store: Store, monkeypatch: pytest.MonkeyPatch) -> Clocked:
    return Clocked(bus, store, monkeypatch)
