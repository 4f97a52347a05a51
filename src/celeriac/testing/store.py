"""The store that tests run on: log, ledger and registry in memory, on one clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from celeriac.delivery import Completion, Group
from celeriac.delivery.chunk_store import ChunkCompletion
from celeriac.event import Event, decode, decode_data
from celeriac.event_log import EntryKind, SyncLogAdapter
from celeriac.service import Service
from celeriac.settings import Settings
from celeriac.store.factory import Backend
from celeriac.store.memory.chunks import MemoryChunks
from celeriac.store.memory.circuits import MemoryCircuits
from celeriac.store.memory.contracts import MemoryContracts
from celeriac.store.memory.deliveries import MemoryDeliveryStore
from celeriac.store.memory.event_log import MemoryClock, MemoryEventLog
from celeriac.store.memory.registry import MemoryRegistry


@dataclass(frozen=True, slots=True)
class Emitted:
    """One emit: the event as its handlers read it, and when it was put off to."""

    event: Event[Any]
    body: bytes
    delay_ms: int | None = None
    at_ms: int | None = None


def recorded(body: bytes, delay_ms: int | None = None, at_ms: int | None = None) -> Emitted:
    return Emitted(decode_data(decode(body), Any), body, delay_ms, at_ms)


class RecordingEventLog(MemoryEventLog):
    """A log that notes what is emitted. `before_emit` is called ahead of each."""

    def __init__(self, settings: Settings, clock: MemoryClock) -> None:
        super().__init__(settings, clock)
        self.emitted: list[Emitted] = []
        self.appended = 0
        self.before_emit: Callable[[], None] = lambda: None
        self._recording = True

    def append(
        self, domain: str, body: bytes, kind: EntryKind = EntryKind.FOREIGN, since_ms: int = 0
    ) -> str:
        self._note(body)
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
        self._note(body, delay_ms, at_ms)
        return super().append_delayed(domain, body, delay_ms=delay_ms, at_ms=at_ms, kind=kind)

    def enqueue_due(self, domain: str, most: int = 1000) -> tuple[int, int | None]:
        with self.silence():
            return super().enqueue_due(domain, most)

    @contextmanager
    def silence(self) -> Iterator[None]:
        """What is appended inside is no emit."""
        with self.lock:
            before, self._recording = self._recording, False
            try:
                yield
            finally:
                self._recording = before

    def _note(self, body: bytes, delay_ms: int | None = None, at_ms: int | None = None) -> None:
        if not self._recording:
            return
        self.before_emit()
        self.emitted.append(recorded(body, delay_ms, at_ms))


class SimulatedCrash(BaseException):
    """Stands for the death of a worker's process: nobody catches it but the test's runner."""


class CrashingDeliveryStore(MemoryDeliveryStore):
    """A ledger whose next `deaths` finishes never arrive, as if the process had died before."""

    deaths = 0

    def complete(
        self, worker: str, group: Group, settled: Sequence[Completion], mean_us: int = 0
    ) -> list[str]:
        if self.deaths > 0:
            self.deaths -= 1
            raise SimulatedCrash
        return super().complete(worker, group, settled, mean_us)


class CrashingChunkStore(MemoryChunks):
    """Chunks whose executors may die before they report, as those of `deliveries` do."""

    deliveries: CrashingDeliveryStore

    def complete(self, worker: str, group: Group, chunk: str, completion: ChunkCompletion) -> bool:
        if self.deliveries.deaths > 0:
            self.deliveries.deaths -= 1
            raise SimulatedCrash
        return super().complete(worker, group, chunk, completion)


class Store:
    """One bus in memory; its clock moves when it is told to."""

    def __init__(self, settings: Settings) -> None:
        self.clock = MemoryClock()
        self.event_log = RecordingEventLog(settings, self.clock)
        self.deliveries = CrashingDeliveryStore(settings, self.event_log)
        self.registry = MemoryRegistry(self.clock)
        self.backend = Backend(
            event_log=self.event_log,
            deliveries=self.deliveries,
            chunks=CrashingChunkStore(self.deliveries),
            registry=self.registry,
            async_event_log=SyncLogAdapter(self.event_log),
            circuits=MemoryCircuits(self.clock),
            contracts=MemoryContracts(self.clock),
        )

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Every bus of the process works on this store inside, and on its own again after."""
        before, Service.instead = Service.instead, self.backend
        try:
            yield
        finally:
            Service.instead = before
