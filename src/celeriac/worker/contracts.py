"""Declare the contracts of a worker's code when it starts, and again at an interval."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

import redis

from celeriac.contract.lock import Lock, lock_of
from celeriac.contract.store import ContractChanged
from celeriac.service import Service

logger = logging.getLogger(__name__)

# Seconds. Restores declarations that Redis lost.
AGAIN = 300.0


class ContractDeclaration:
    """Declares the contracts and readers of a service's code on the bus."""

    def __init__(self, service: Service, clock: Callable[[], float] = time.monotonic) -> None:
        self._service = service
        self._clock = clock
        self._lock: Lock | None = None
        self._again_at = float("-inf")

    @property
    def reads(self) -> Mapping[str, str]:
        """Handler → digest of what it reads."""
        return {handler: reads.digest for handler, reads in self._code_lock.readers.items()}

    @property
    def _code_lock(self) -> Lock:
        if self._lock is None:
            name, handlers = self._service.settings.service, self._service.handlers.values()
            self._lock = lock_of(name, handlers)
        return self._lock

    def declare(self) -> None:
        """Write the missing declarations. Blocks for a few round trips.

        Raises ContractChanged if a version is declared with another schema. An error of Redis is
        only logged; `repeat` tries again.
        """
        lock, backend = self._code_lock, self._service.backend
        self._again_at = self._clock() + AGAIN
        try:
            backend.contracts.declare(lock.service, lock.contracts, lock.readers)
            self._forget_others()
        except redis.RedisError as error:
            self._again_at = self._clock() + AGAIN / 10
            logger.warning("celeriac: contracts were not declared; the worker retries: %s", error)

    def repeat(self) -> None:
        """Declare again after the interval. A changed version is only logged: this worker runs."""
        if self._clock() < self._again_at:
            return
        try:
            self.declare()
        except ContractChanged as error:
            logger.error("celeriac: %s", error)

    def _forget_others(self) -> None:
        """Remove declared readers that no running worker's code has."""
        backend = self._service.backend
        known = backend.contracts.readers()
        if all(set(known.get(handler, ())) <= {made} for handler, made in self.reads.items()):
            return
        workers = backend.registry.workers()
        for handler, made in self.reads.items():
            running = {w.reads[handler] for w in workers if handler in w.reads}
            backend.contracts.forget_readers(handler, {made, *running})
