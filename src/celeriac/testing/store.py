"""The backend of tests: event log, delivery store and registry in memory, with one clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from celeriac.delivery import Completion, Group
from celeriac.delivery.chunk_store import ChunkCompletion, ChunkProgress
from celeriac.delivery.pending_reply import PendingReply
from celeriac.event import Event, decode, decode_data
from celeriac.event_log import EntryKind, SyncLogAdapter
from celeriac.service import Service
from celeriac.settings import Settings
from celeriac.store.factory import Backend
from celeriac.store.memory.chunks import MemoryChunks
from celeriac.store.memory.circuits import MemoryCircuits
from celeriac.store.memory.clock import MemoryClock
from celeriac.store.memory.contracts import MemoryContracts
from celeriac.store.memory.deliveries import MemoryDeliveryStore
from celeriac.store.memory.event_log import MemoryEventLog
from celeriac.store.memory.registry import MemoryRegistry
from celeriac.store.memory.replies import MemoryReplies
from celeriac.store.memory.schedules import MemorySchedules


@dataclass(frozen=True, slots=True)
class Emitted:
    """One emit: the event as its handlers get it, and its delay."""

    event: Event[Any]
    body: bytes
    delay_ms: int | None = None
    at_ms: int | None = None


def recorded(body: bytes, delay_ms: int | None = None, at_ms: int | None = None) -> Emitted:
    """Return the record of an emit."""
    return Emitted(decode_data(decode(body), Any), body, delay_ms, at_ms)


class RecordingEventLog(MemoryEventLog):
    """An event log that records emits. It calls `before_emit` before each."""

    def __init__(self, settings: Settings, clock: MemoryClock) -> None:
        super().__init__(settings, clock)
        self.emitted: list[Emitted] = []
        self.appended = 0
        self.before_emit: Callable[[], None] = lambda: None
        self._recording = True

    def append(
        self, domain: str, body: bytes, kind: EntryKind = EntryKind.FOREIGN, since_ms: int = 0
    ) -> str:
        self._record(body)
        self.appended += 1
        return super().append(domain, body, kind, since_ms)

    def append_delayed(
        self,
        domain: str,
        body: bytes,
        *,
        delay_ms: int | None,
        at_ms: int | None,
        kind: EntryKind = EntryKind.FOREIGN,
    ) -> int:
        self._record(body, delay_ms, at_ms)
        return super().append_delayed(domain, body, delay_ms=delay_ms, at_ms=at_ms, kind=kind)

    def enqueue_due(self, domain: str, count: int = 1000) -> tuple[int, int | None]:
        with self.silence():
            return super().enqueue_due(domain, count)

    @contextmanager
    def silence(self) -> Iterator[None]:
        """Do not record appends within the `with` block as emits."""
        with self.lock:
            before, self._recording = self._recording, False
            try:
                yield
            finally:
                self._recording = before

    def _record(self, body: bytes, delay_ms: int | None = None, at_ms: int | None = None) -> None:
        if not self._recording:
            return
        self.before_emit()
        self.emitted.append(recorded(body, delay_ms, at_ms))


class SimulatedCrash(BaseException):
    """Simulates the death of a worker process. Only `MemoryBus` catches it."""


class CrashingDeliveryStore(MemoryDeliveryStore):
    """A delivery store whose next `crashes` completions fail, as if the process had died."""

    crashes = 0

    def complete(
        self, worker: str, group: Group, completions: Sequence[Completion], mean_us: int = 0
    ) -> list[str]:
        if self.crashes > 0:
            self.crashes -= 1
            raise SimulatedCrash
        return super().complete(worker, group, completions, mean_us)


class CrashingChunkStore(MemoryChunks):
    """A chunk store whose completions fail in the same way, counted by `deliveries`."""

    deliveries: CrashingDeliveryStore

    def begin_progress(
        self, worker: str, group: Group, chunk: str, progress: ChunkProgress
    ) -> PendingReply[bool]:
        self._crash(group, chunk)
        return super().begin_progress(worker, group, chunk, progress)

    def complete(self, worker: str, group: Group, chunk: str, completion: ChunkCompletion) -> bool:
        self._crash(group, chunk)
        # The exceptions are completed with the chunk.
        crashes, self.deliveries.crashes = self.deliveries.crashes, 0
        try:
            return super().complete(worker, group, chunk, completion)
        finally:
            self.deliveries.crashes = crashes

    def _crash(self, group: Group, chunk: str) -> None:
        # A dispatcher completes chunks that never ran; that cannot be a crash of an executor.
        has_run = any(each.id == chunk and each.is_running for each in self.open_chunks(group))
        if has_run and self.deliveries.crashes > 0:
            self.deliveries.crashes -= 1
            raise SimulatedCrash


class Store:
    """A bus in memory, with a clock that only `advance` moves."""

    def __init__(self, settings: Settings) -> None:
        self.clock = MemoryClock()
        self.event_log = RecordingEventLog(settings, self.clock)
        self.deliveries = CrashingDeliveryStore(settings, self.event_log)
        self.registry = MemoryRegistry(self.clock)
        self.replies = MemoryReplies(self.clock)
        self.backend = Backend(
            event_log=self.event_log,
            deliveries=self.deliveries,
            chunks=CrashingChunkStore(self.deliveries),
            registry=self.registry,
            async_event_log=SyncLogAdapter(self.event_log),
            circuits=MemoryCircuits(self.clock),
            schedules=MemorySchedules(self.event_log),
            replies=self.replies,
            contracts=MemoryContracts(self.clock),
        )

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Make every bus of the process use this store, within a `with` block."""
        before, Service.override = Service.override, self.backend
        try:
            yield
        finally:
            Service.override = before
