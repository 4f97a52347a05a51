"""Maintenance by the dispatcher: heartbeat, bus settings, trimming, discovery, empty domains.

Each run trims only some of many domains, and domains without anything to trim rarely, so that
thousands of domains delay no event.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from itertools import islice

import redis

from celeriac.dispatcher.eviction import EvictionWatch
from celeriac.dispatcher.heartbeat import send_heartbeat
from celeriac.event_log import Trimmed
from celeriac.registry import HandlerRecord, WorkerRecord
from celeriac.store.factory import Backend
from celeriac.store.redis.connection import is_refused

logger = logging.getLogger(__name__)
TRIM_EVERY = 10.0
TRIM_AT_LEAST_EVERY = 300.0
TRIM_AT_ONCE = 32  # domains in one round trip
DISCOVER_EVERY = 30.0
EVICTIONS_EVERY = 60.0
BEAT_EVERY = 5.0
FORGET_EVERY = 60.0
SILENT_LEAST = 3600.0  # longer than producers remember that they announced a domain
MANY_DOMAINS = 1_000


@dataclass(slots=True)
class Plan:
    """When a domain is trimmed next, the pause before that, and its newest entry at that time."""

    at: float
    pause: float = TRIM_EVERY
    newest: str = ""


class Maintenance:
    """Runs each duty when it is due. Not thread-safe; `run` blocks for round trips."""

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
        self._plans: dict[str, Plan] = {}
        self._empty_since: dict[str, float] = {}
        self._warned = False
        self._may_forget = True

    def run(
        self,
        domains: Iterable[str],
        *,
        handlers: MutableMapping[str, HandlerRecord] | None = None,
        discover: bool,
        newest: Mapping[str, str] | None = None,
    ) -> bool:
        """Run the duties that are due; return whether domains may have been added or removed.

        Args:
            own: The records of the worker's handlers, updated with each heartbeat.
            newest: The newest entry of each domain, as far as known.
        """
        backend = self._backend()
        if self._is_due("heartbeat", BEAT_EVERY):
            self._establish(backend)
            send_heartbeat(backend, self._describe(), {} if handlers is None else handlers)
        if self._is_due("evictions", EVICTIONS_EVERY):
            self._evictions.check(backend.event_log.evictions())
        self._trim(backend, domains, newest or {})
        forgot = discover and self._is_due("forget", FORGET_EVERY) and self._forget(backend)
        if discover and self._is_due("discover", DISCOVER_EVERY):
            backend.event_log.discover()
            return True
        return forgot

    def beat_soon(self) -> None:
        """Send a heartbeat at the next run: the worker's handlers have changed."""
        self._last.pop("heartbeat", None)

    def _establish(self, backend: Backend) -> None:
        try:
            backend.bus.establish()
        except redis.ResponseError as error:
            if not is_refused(error):
                raise
            if not self._warned:
                self._warned = True
                logger.warning(
                    "celeriac: the settings of the bus cannot be read: the ACL of Redis forbids it "
                    "(%s). Run `celeriac acl` again; until then this worker uses its own",
                    error,
                )

    # -- trimming

    def _trim(self, backend: Backend, domains: Iterable[str], newest: Mapping[str, str]) -> None:
        now, known = self._clock(), self._plans
        names = list(domains)
        if len(known) > len(names):
            self._plans = known = {name: known[name] for name in names if name in known}
            self._empty_since = {d: at for d, at in self._empty_since.items() if d in known}
        due = (name for name in names if self._is_trimmed_now(name, newest.get(name, ""), now))
        chosen = list(islice(due, TRIM_AT_ONCE))
        if not chosen:
            return
        longest = min(TRIM_AT_LEAST_EVERY, backend.bus.current.retention / 10)
        for domain, trimmed in zip(chosen, backend.event_log.trim_many(chosen), strict=True):
            backend.event_log.remove_idle_consumers(domain)
            before = known.get(domain)
            quiet = before is not None and before.newest == newest.get(domain, "")
            pause = TRIM_EVERY
            if quiet and before is not None and not (trimmed.entries or trimmed.dead_letters):
                pause = max(TRIM_EVERY, min(2 * before.pause, longest))
            # Many idle domains must not become due in one run.
            spread = random.uniform(0.8, 1) if pause > TRIM_EVERY else 1
            after = 0.0 if trimmed.more else pause * spread
            known[domain] = Plan(now + after, pause, newest.get(domain, ""))
            if trimmed.remaining:
                self._empty_since.pop(domain, None)
            else:
                self._empty_since.setdefault(domain, now)
            _report(domain, trimmed)

    def _is_trimmed_now(self, domain: str, newest: str, now: float) -> bool:
        plan = self._plans.get(domain)
        if plan is None:
            return True
        # An entry was added since: the domain is trimmed as often as a busy one.
        at = plan.at if plan.newest == newest else plan.at - plan.pause + TRIM_EVERY
        return now >= at

    # -- removing empty domains

    def _forget(self, backend: Backend) -> bool:
        """Remove empty domains; return whether there were any."""
        now = self._clock()
        empty = [d for d, since in self._empty_since.items() if now - since >= FORGET_EVERY]
        if not empty or not self._may_forget:
            return False
        named = named_domains(backend.registry.handlers().values())
        silent_ms = int(max(backend.bus.current.retention, SILENT_LEAST) * 1000)
        forgotten = []
        for domain in islice((name for name in empty if name not in named), TRIM_AT_ONCE):
            # Tried again after another round: most are empty, but have not been silent long enough.
            self._empty_since[domain] = now
            try:
                gone = backend.event_log.forget_domain(domain, silent_ms)
            except redis.ResponseError as error:
                if not is_refused(error):
                    raise
                # Left to the workers of a service with the right to remove domains.
                self._may_forget = False
                break
            if gone:
                forgotten.append(domain)
                del self._empty_since[domain]
        if forgotten:
            logger.info("celeriac: removed %d empty domains", len(forgotten))
        return bool(forgotten)

    def _is_due(self, duty: str, every: float) -> bool:
        now = self._clock()
        if duty in self._last and now - self._last[duty] < every:
            return False
        self._last[duty] = now
        return True


def named_domains(records: Iterable[HandlerRecord]) -> frozenset[str]:
    """Return the domains that a handler subscribes to by name: they are never removed."""
    firsts = {pattern.partition(".")[0] for record in records for pattern in record.patterns}
    return frozenset(firsts - {"*", "#"})


def _report(domain: str, trimmed: Trimmed) -> None:
    if trimmed.entries:
        logger.debug("trimmed %s: %d entries", domain, trimmed.entries)
    if trimmed.dead_letters:
        logger.warning(
            "%d dead letters of %s were removed permanently: they were older than dead_retention "
            "or exceeded max_dead_letters (`celeriac config` shows both)",
            trimmed.dead_letters,
            domain,
        )
