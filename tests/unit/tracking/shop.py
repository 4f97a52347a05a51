"""Services that a test drives step by step: emit, dispatch and run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Any

from celeriac.dispatcher import Chunk, Dispatcher
from celeriac.emitter import Emitter
from celeriac.event import Event
from celeriac.event_log import SyncLogAdapter
from celeriac.handler import HandlerOptions, make_handler
from celeriac.registry import WorkerRecord
from celeriac.service import Service
from celeriac.settings import Settings
from celeriac.store.factory import Backend
from celeriac.store.memory.chunks import MemoryChunks
from celeriac.store.memory.circuits import MemoryCircuits
from celeriac.store.memory.clock import MemoryClock
from celeriac.store.memory.deliveries import MemoryDeliveryStore
from celeriac.store.memory.event_log import MemoryEventLog
from celeriac.store.memory.registry import MemoryRegistry
from celeriac.store.memory.schedules import MemorySchedules
from celeriac.tenant import tenant_marks
from tests.unit.delivery_task import run_task


def memory_backend(settings: Settings, clock: MemoryClock | None = None) -> Backend:
    clock = clock or MemoryClock()
    event_log = MemoryEventLog(settings, clock)
    deliveries = MemoryDeliveryStore(settings, event_log)
    return Backend(
        event_log=event_log,
        deliveries=deliveries,
        chunks=MemoryChunks(deliveries),
        registry=MemoryRegistry(clock),
        async_event_log=SyncLogAdapter(event_log),
        circuits=MemoryCircuits(clock),
        schedules=MemorySchedules(event_log),
    )


class Shop:
    """Any number of services over one backend, a worker of one process each."""

    def __init__(self, backend: Backend, settings: Settings) -> None:
        self.backend, self.settings = backend, settings
        self.emitter = Emitter(settings, lambda: backend.event_log)
        self.services: dict[str, Service] = {}
        self.dispatchers: dict[str, Dispatcher] = {}
        self.chunks: list[tuple[Service, Chunk]] = []

    def on(
        self, name: str, *patterns: str, function: Callable[[Any], Any] = bool, **options: Any
    ) -> None:
        """Subscribes `service.handler`; the function does nothing by default."""
        service, _, handler = name.partition(".")

        def handle(event: Event) -> None:
            function(event)

        made = make_handler(
            handle, patterns, HandlerOptions(name=handler, **options), service=service
        )
        self._service(service).add(made)

    def _service(self, name: str) -> Service:
        if name not in self.services:
            service = Service(replace(self.settings, service=name))
            service.backend = self.backend
            self.services[name] = service
        return self.services[name]

    def emit(self, type: str, data: Any = None, *, delay: float | None = None, **given: Any) -> str:
        event = self.emitter.build(type, data, **given)
        return self.emitter.emit(event, delay=delay, made="id" not in given)

    def start(self) -> None:
        """Starts a dispatcher for each service: the handlers join."""
        for name, service in self.services.items():
            self.dispatchers[name] = self._dispatcher(service)
            self.dispatchers[name].run_once()

    def _dispatcher(self, service: Service) -> Dispatcher:
        def send(chunk: Chunk) -> None:
            self.chunks.append((service, chunk))

        # Each call is later, so that no turn waits for real time, and maintenance rarely runs.
        clock = count(0.0, 0.25).__next__
        return Dispatcher(
            service, send, processes=1, describe=lambda: self.record(service), clock=clock
        )

    def record(self, service: Service) -> WorkerRecord:
        name = service.settings.service
        queues = tuple(sorted({handler.queue for handler in service.handlers.values()}))
        return WorkerRecord(
            name=service.worker, service=name, hostname="host", pid=1, pool="solo",
            processes=1, queues=queues, handlers=tuple(service.handlers), version="0",
            patterns={handler.id: handler.patterns for handler in service.handlers.values()},
            tenants={
                handler.id: tenant_marks(handler.tenants)
                for handler in service.handlers.values() if handler.tenants
            },
        )  # fmt: skip

    def dispatch(self, *names: str) -> None:
        """Turns of the dispatchers of these services, or of all, until each would wait."""
        for name in names or self.dispatchers:
            while self.dispatchers[name].run_once() == 0.0:
                pass

    def run(self) -> None:
        """Run every delivery task sent so far."""
        chunks, self.chunks = self.chunks, []
        for service, chunk in chunks:
            run_task(service, chunk)

    def run_until_idle(self, *names: str) -> None:
        """Dispatch and run until no delivery is due."""
        self.dispatch(*names)
        while self.chunks:
            self.run()
            self.dispatch(*names)
