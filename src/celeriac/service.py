"""A service: its settings, its handlers and the backend of its events."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, ClassVar

from celeriac.errors import ConfigurationError, SubscriptionError
from celeriac.handler.broadcast import BroadcastHandler
from celeriac.handler.handler import Handler
from celeriac.handler.signature import qualified_name
from celeriac.middleware import Middleware
from celeriac.observability.tracing import with_tracing
from celeriac.registry import BroadcastRecord
from celeriac.schedule import DeclaredSchedule
from celeriac.security import EventSecurity
from celeriac.security.subject_key import SubjectKeys
from celeriac.settings import Settings
from celeriac.store.factory import Backend, redis_backend


class Service:
    """The settings, handlers and backend that dispatcher and executor share."""

    # While a test runs in memory, every service of the process uses this backend, so that no bus of
    # the application reaches Redis by accident. See celeriac.testing.
    override: ClassVar[Backend | None] = None

    def __init__(
        self,
        settings: Settings,
        middleware: Sequence[Middleware] = (),
        subject_keys: SubjectKeys | None = None,
    ) -> None:
        self.settings = settings
        self.middleware = self._with_metrics(with_tracing(settings, middleware))
        self.worker = worker_name(settings.service)
        self._handlers: dict[str, Handler] = {}
        self._broadcasts: dict[str, BroadcastHandler] = {}
        self._schedules: dict[str, DeclaredSchedule] = {}
        self._backend: Backend | None = None
        self._spooling: tuple[Backend, Backend] | None = None
        self.guard = EventSecurity(settings, subject_keys)

    def _with_metrics(self, middleware: tuple[Middleware, ...]) -> tuple[Middleware, ...]:
        """Return the middleware, within the counts by tenant if the settings name tenants."""
        names = self.settings.metrics_tenant_names
        if not names:
            return middleware
        from celeriac.observability.tenants import TenantMetrics

        return TenantMetrics(names, lambda: self.backend.tenant_counts), *middleware

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """Handlers by id."""
        return MappingProxyType(self._handlers)

    @property
    def broadcasts(self) -> Mapping[str, BroadcastHandler]:
        """Broadcast handlers by id."""
        return MappingProxyType(self._broadcasts)

    def broadcast_records(self) -> dict[str, BroadcastRecord]:
        """Return the broadcast handlers as the workers register them."""
        return {
            handler.id: BroadcastRecord(patterns=handler.patterns, scope=handler.scope)
            for handler in self._broadcasts.values()
        }

    def add(self, handler: Handler) -> None:
        """Register a handler. Raises SubscriptionError if its id is taken."""
        self._check_is_free(handler)
        self._handlers[handler.id] = handler

    def add_broadcast(self, handler: BroadcastHandler) -> None:
        """Register a broadcast handler. Raises SubscriptionError if its id is taken."""
        self._check_is_free(handler)
        self._broadcasts[handler.id] = handler

    def _check_is_free(self, handler: Handler | BroadcastHandler) -> None:
        existing = self._handlers.get(handler.id) or self._broadcasts.get(handler.id)
        if existing is not None:
            first = f"{existing.function.__module__}.{qualified_name(existing.function)}"
            raise SubscriptionError(
                f"@bus.on for {handler.id}: the name is taken by {first}. A handler's name is its "
                "durable identity: give one of them another with @bus.on(..., name='...')"
            )

    @property
    def schedules(self) -> Mapping[str, DeclaredSchedule]:
        """Schedules by name."""
        return MappingProxyType(self._schedules)

    def add_schedule(self, declared: DeclaredSchedule) -> None:
        """Add a schedule. Raises ConfigurationError if its name is taken."""
        schedule = declared.schedule
        if schedule.name in self._schedules:
            raise ConfigurationError(
                f"bus.schedule for {schedule.name!r}: the name is taken in this service. Give one "
                "of them another with bus.schedule(..., name='...')"
            )
        self._schedules[schedule.name] = declared

    @property
    def backend(self) -> Backend:
        """The backend that stores the events of the service. Access does not connect."""
        if Service.override is not None:
            return Service.override
        if self._backend is None:
            self._backend = redis_backend(self.settings)
        return self._backend

    @backend.setter
    def backend(self, backend: Backend | None) -> None:
        self._backend = backend

    @property
    def emitting(self) -> Backend:
        """The backend that `emit` appends to: through the spool if the service has one."""
        if not self.settings.spool or Service.override is not None:
            return self.backend
        if self._spooling is None or self._spooling[0] is not self.backend:
            self._spooling = self.backend, _with_spool(self.backend, self.settings)
        return self._spooling[1]


def _with_spool(backend: Backend, settings: Settings) -> Backend:
    # Imported here so that only services with a spool import SQLite.
    from celeriac.spool import AsyncSpooledEventLog, SpooledEventLog, SpoolFile

    spooled = SpooledEventLog(
        backend.event_log, SpoolFile(settings.spool, settings.spool_max_bytes), settings
    )
    appending: Any = spooled  # has the part of EventLog that emitters use
    return replace(
        backend,
        event_log=appending,
        async_event_log=AsyncSpooledEventLog(backend.async_event_log, spooled),
    )


def worker_name(label: str) -> str:
    """Return a name that no other worker has or had, so that deliveries have one owner."""
    node = label if "@" in label else f"{label}@{socket.gethostname()}"
    return f"{node}/{os.getpid()}-{secrets.token_hex(2)}"
