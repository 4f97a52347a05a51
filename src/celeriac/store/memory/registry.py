"""The registry in memory, kept until the process ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Mapping

import msgspec

from celeriac.registry.registry import HandlerRecord, WorkerRecord, is_gone
from celeriac.registry.scale_target import FORGET_TARGET_AFTER_MS, ScaleTargetRecord
from celeriac.store.memory.clock import Clock


class MemoryRegistry:
    """Implements Registry. Thread-safe."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._lock = threading.Lock()
        self._handlers: dict[str, HandlerRecord] = {}
        self._removed: set[str] = set()
        self._workers: dict[str, WorkerRecord] = {}
        self._scale_targets: dict[str, ScaleTargetRecord] = {}

    def handlers(self) -> Mapping[str, HandlerRecord]:
        with self._lock:
            return dict(sorted(self._handlers.items()))

    def register(self, record: HandlerRecord) -> None:
        with self._lock:
            self._handlers[record.id] = record
            self._removed.discard(record.id)

    def update(self, record: HandlerRecord) -> bool:
        with self._lock:
            if record.id in self._removed:
                return False
            self._handlers[record.id] = record
            return True

    def unregister(self, handler: str) -> bool:
        with self._lock:
            self._removed.add(handler)
            return self._handlers.pop(handler, None) is not None

    def was_removed(self, handler: str) -> bool:
        with self._lock:
            return handler in self._removed

    def registered(self, handlers: Collection[str]) -> Mapping[str, HandlerRecord]:
        with self._lock:
            return {name: self._handlers[name] for name in handlers if name in self._handlers}

    def unregistered(self, handlers: Collection[str]) -> list[str]:
        with self._lock:
            known = self._handlers.keys() | self._removed
            return [name for name in handlers if name not in known]

    def workers(self) -> list[WorkerRecord]:
        with self._lock:
            now, known = self.clock.now_ms(), sorted(self._workers.items())
            living = {name: worker for name, worker in known if not is_gone(worker.beat_ms, now)}
            self._workers = living
            return list(living.values())

    def heartbeat(self, worker: WorkerRecord) -> None:
        stamped = msgspec.structs.replace(
            worker, beat_ms=self.clock.now_ms(), clock_ms=int(time.time() * 1000)
        )
        with self._lock:
            self._workers[worker.name] = stamped

    def depart(self, name: str) -> None:
        with self._lock:
            self._workers.pop(name, None)

    def scale_targets(self) -> Mapping[str, ScaleTargetRecord]:
        oldest = self.clock.now_ms() - FORGET_TARGET_AFTER_MS
        with self._lock:
            known = self._scale_targets.items()
            self._scale_targets = {name: r for name, r in known if r.requested_ms >= oldest}
            return dict(self._scale_targets)

    def note_scale_target(self, record: ScaleTargetRecord) -> None:
        with self._lock:
            self._scale_targets[record.name] = record

    def now_ms(self) -> int:
        return self.clock.now_ms()
