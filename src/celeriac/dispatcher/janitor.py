"""Housekeeping beside the dispatching: trim the logs, find foreign logs, beat."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from celeriac.dispatcher.eviction import EvictionWatch
from celeriac.dispatcher.heartbeat import beat
from celeriac.registry import HandlerRecord, WorkerRecord
from celeriac.subscription import Backend

log = logging.getLogger(__name__)
TRIM_EVERY = 10.0
DISCOVER_EVERY = 30.0
EVICTIONS_EVERY = 60.0
BEAT_EVERY = 5.0


class Janitor:
    """Runs each duty when its time has come. Not thread-safe; `turn` blocks for round trips."""

    def __init__(
        self,
        backend: Callable[[], Backend],
        describe: Callable[[], WorkerRecord],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._backend = backend
        self._describe = describe
        self._clock = clock
        self._last: dict[str, float] = {}
        self._evictions = EvictionWatch()

    def turn(
        self,
        domains: Iterable[str],
        *,
        own: Mapping[str, HandlerRecord] = MappingProxyType({}),
        discover: bool,
    ) -> bool:
        """Does what is due; True if there may be domains not seen before. `own` are the records of
        the worker's handlers."""
        backend = self._backend()
        if self._is_due("beat", BEAT_EVERY):
            beat(backend, self._describe(), own)
        if self._is_due("evictions", EVICTIONS_EVERY):
            self._evictions.look(backend.log.evictions())
        if self._is_due("trim", TRIM_EVERY):
            for domain in domains:
                removed, buried = backend.log.trim(domain)
                backend.log.tidy(domain)
                if removed:
                    log.debug("trimmed %s: %d entries", domain, removed)
                if buried:
                    log.warning(
                        "%d dead letters of %s are gone for good: they were older than "
                        "CELERIAC_DEAD_RETENTION or more than CELERIAC_DEAD_MOST",
                        buried,
                        domain,
                    )
        if discover and self._is_due("discover", DISCOVER_EVERY):
            backend.log.discover()
            return True
        return False

    def _is_due(self, duty: str, every: float) -> bool:
        now = self._clock()
        if duty in self._last and now - self._last[duty] < every:
            return False
        self._last[duty] = now
        return True
