"""A service: its settings, its handlers, and where its events live."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, ClassVar

from celeriac.errors import SubscriptionError
from celeriac.handler.handler import Handler
from celeriac.handler.signature import qualified_name
from celeriac.middleware import Middleware
from celeriac.observability.tracing import with_tracing
from celeriac.security import EventSecurity
from celeriac.settings import Settings
from celeriac.store.factory import Backend, redis_backend


class Service:
    """What dispatcher and executor work for."""

    # While a test runs in memory, every service of the process works on this one instead of its
    # own: no bus that the test did not think of reaches Redis. See celeriac.testing.
    instead: ClassVar[Backend | None] = None

    def __init__(self, settings: Settings, middleware: Sequence[Middleware] = ()) -> None:
        self.settings = settings
        self.middleware = with_tracing(settings, middleware)
        self.worker = worker_name(settings.service)
        self._handlers: dict[str, Handler] = {}
        self._backend: Backend | None = None
        self._spooling: tuple[Backend, Backend] | None = None
        self.guard = EventSecurity(settings)

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """Handlers by id."""
        return MappingProxyType(self._handlers)

    def add(self, handler: Handler) -> None:
        """Raises SubscriptionError where the name is taken."""
        there = self._handlers.get(handler.id)
        if there is not None:
            first = f"{there.function.__module__}.{qualified_name(there.function)}"
            raise SubscriptionError(
                f"@bus.on for {handler.id}: the name is taken by {first}; a handler's name is its "
                "durable identity, so give one of them another with @bus.on(..., name='...')"
            )
        self._handlers[handler.id] = handler

    @property
    def backend(self) -> Backend:
        """Where the events of the service live. Connects to nothing yet."""
        if Service.instead is not None:
            return Service.instead
        if self._backend is None:
            self._backend = redis_backend(self.settings)
        return self._backend

    @backend.setter
    def backend(self, backend: Backend | None) -> None:
        self._backend = backend

    @property
    def emitting(self) -> Backend:
        """Where `emit` appends: the backend, by way of the spool where there is one."""
        if not self.settings.spool or Service.instead is not None:
            return self.backend
        if self._spooling is None or self._spooling[0] is not self.backend:
            self._spooling = self.backend, _with_spool(self.backend, self.settings)
        return self._spooling[1]


def _with_spool(backend: Backend, settings: Settings) -> Backend:
    # Here and not above: who has no spool is spared the import of SQLite.
    from celeriac.spool import AsyncSpooledEventLog, SpooledEventLog, SpoolFile

    spooled = SpooledEventLog(
        backend.event_log, SpoolFile(settings.spool, settings.spool_max_bytes), settings
    )
    appending: Any = spooled  # all of EventLog that emitters use
    return replace(
        backend,
        event_log=appending,
        async_event_log=AsyncSpooledEventLog(backend.async_event_log, spooled),
    )


def worker_name(label: str) -> str:
    """A name no other worker has or had: its deliveries must not be taken for another's."""
    node = label if "@" in label else f"{label}@{socket.gethostname()}"
    return f"{node}/{os.getpid()}-{secrets.token_hex(2)}"
