"""A service: its settings, its handlers, and where its events live."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from celeriac.errors import SubscriptionError
from celeriac.ledger import Ledger
from celeriac.ledger.redis import RedisLedger
from celeriac.log import EventLog
from celeriac.log.redis import RedisLog
from celeriac.registry import Registry
from celeriac.registry.redis import RedisRegistry
from celeriac.settings import Settings
from celeriac.subscription.handler import Handler


@dataclass(frozen=True, slots=True)
class Backend:
    """Log, ledger and registry, which must lie in the same store."""

    log: EventLog
    ledger: Ledger
    registry: Registry


class Service:
    """What dispatcher and executor work for. The backend may be swapped, as tests do."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.worker = worker_name(settings.service)
        self._handlers: dict[str, Handler] = {}
        self._backend: Backend | None = None

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """Handlers by id."""
        return MappingProxyType(self._handlers)

    def add(self, handler: Handler) -> None:
        """Raises SubscriptionError where the name is taken."""
        there = self._handlers.get(handler.id)
        if there is not None:
            first = f"{there.function.__module__}.{there.function.__qualname__}"
            raise SubscriptionError(
                f"@bus.on for {handler.id}: the name is taken by {first}; a handler's name is its "
                "durable identity, so give one of them another with @bus.on(..., name='...')"
            )
        self._handlers[handler.id] = handler

    @property
    def backend(self) -> Backend:
        if self._backend is None:
            self._backend = redis_backend(self.settings)
        return self._backend

    @backend.setter
    def backend(self, backend: Backend | None) -> None:
        self._backend = backend


def redis_backend(settings: Settings) -> Backend:
    """Does not connect yet."""
    return Backend(
        log=RedisLog(settings), ledger=RedisLedger(settings), registry=RedisRegistry(settings)
    )


def worker_name(label: str) -> str:
    """A name no other worker has or had: its deliveries must not be taken for another's."""
    return f"{label}@{socket.gethostname()}/{os.getpid()}-{secrets.token_hex(2)}"
