"""What a worker declares of contracts: at its start, and again now and then."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

import redis

from celeriac.contract.lock import Lock, lock_of
from celeriac.contract.store import ContractChanged
from celeriac.service import Service

logger = logging.getLogger(__name__)

# Seconds. What Redis lost is there again after that.
AGAIN = 300.0


class ContractDeclaration:
    """The contracts and readers of a service's code, for the bus to know."""

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
        """Write what is not there yet. Blocks for some round trips.

        Raises ContractChanged for a version that is there with another schema. Where Redis does
        not answer, that is logged, and `repeat` tries again.
        """
        own, backend = self._code_lock, self._service.backend
        self._again_at = self._clock() + AGAIN
        try:
            backend.contracts.declare(own.service, own.contracts, own.readers)
            self._forget_others()
        except redis.RedisError as error:
            self._again_at = self._clock() + AGAIN / 10
            logger.warning(
                "celeriac: the contracts were not declared, and will be later: %s", error
            )

    def repeat(self) -> None:
        """Declare again where that is due. A changed version is logged: this worker runs."""
        if self._clock() < self._again_at:
            return
        try:
            self.declare()
        except ContractChanged as error:
            logger.error("celeriac: %s", error)

    def _forget_others(self) -> None:
        """Remove what no worker's code of these handlers reads any more."""
        backend = self._service.backend
        known = backend.contracts.readers()
        if all(set(known.get(handler, ())) <= {made} for handler, made in self.reads.items()):
            return
        workers = backend.registry.workers()
        for handler, made in self.reads.items():
            running = {w.reads[handler] for w in workers if handler in w.reads}
            backend.contracts.forget_readers(handler, {made, *running})
