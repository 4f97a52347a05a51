"""The services whose handlers are fetched here: to the bus, each is a worker of this process."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from celeriac.delivery.sources import Sources
from celeriac.dispatcher.delayed_events import DelayedEvents
from celeriac.dispatcher.maintenance import Maintenance
from celeriac.event import RawEvent, literal_domain
from celeriac.executor.process import ExecutorProcess
from celeriac.registry import HandlerRecord, WorkerRecord
from celeriac.security import EventSecurity
from celeriac.service import Service
from celeriac.settings import VERSION

# Seconds after its last request for which a handler counts as served.
SERVED_FOR = 30.0


class PullSecurity(EventSecurity):
    """Verifies signatures. Encrypted data stays encrypted: this process serves several services."""

    def decrypt(self, event: RawEvent) -> RawEvent:
        return event


class ServiceContext:
    """One service. Thread-safe, except `run_maintenance`, which one thread calls."""

    def __init__(
        self, parent: Service, name: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.service = Service(replace(parent.settings, service=name))
        self.service.guard = PullSecurity(parent.settings)
        self.service.backend = parent.backend
        self.process = ExecutorProcess(self.service)
        self.sources = Sources(clock)
        self._clock = clock
        self._lock = threading.Lock()
        self._used_at: dict[str, float] = {}
        self._records: dict[str, HandlerRecord] = {}
        self._maintenance = Maintenance(lambda: self.service.backend, self._describe, clock)
        self._delayed_events = DelayedEvents(self.service)
        self._is_known = False

    @property
    def worker(self) -> str:
        """The name under which this process has deliveries of the service."""
        return self.service.worker

    def note_use(self, record: HandlerRecord) -> None:
        """Record that a client works for the handler now."""
        with self._lock:
            is_new = record.id not in self._used_at
            self._used_at[record.id] = self._clock()
            self._records[record.id] = record
        if is_new:
            self._maintenance.beat_soon()

    def forget(self, handler: str) -> None:
        """Serve the handler no longer: it was removed."""
        with self._lock:
            self._used_at.pop(handler, None)
            self._records.pop(handler, None)
        self._maintenance.beat_soon()

    def served(self) -> Mapping[str, HandlerRecord]:
        """Return the records of the handlers that clients work for."""
        oldest = self._clock() - SERVED_FOR
        with self._lock:
            for handler in [h for h, at in self._used_at.items() if at < oldest]:
                del self._used_at[handler], self._records[handler]
            return dict(self._records)

    def run_maintenance(self) -> None:
        """Send the heartbeat, trim, and append delayed events, each when it is due.

        So a bus without any Celery worker works too. Raises redis.RedisError.
        """
        records = dict(self.served())
        if not records:
            self.depart()
            return
        self._is_known = True
        domains = sorted({domain for record in records.values() for domain in record.since})
        has_wildcard = any(literal_domain(p) is None for r in records.values() for p in r.patterns)
        self._maintenance.run(domains, handlers=records, discover=has_wildcard)
        self._delayed_events(domains)

    def depart(self) -> None:
        """Sign off, if the process was known as a worker. Raises redis.RedisError."""
        if self._is_known:
            self._is_known = False
            self.service.backend.registry.depart(self.worker)
            self._maintenance.beat_soon()

    def _describe(self) -> WorkerRecord:
        # Without `patterns`: another gateway may have registered newer ones.
        return WorkerRecord(
            name=self.worker,
            service=self.service.settings.service,
            hostname=socket.gethostname(),
            pid=os.getpid(),
            pool="pull",
            processes=1,
            queues=(),
            handlers=tuple(sorted(self.served())),
            version=VERSION,
        )
