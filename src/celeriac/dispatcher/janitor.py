"""Housekeeping beside the dispatching: beat, keep the bus's settings, trim the logs, find foreign
logs, forget empty domains.

Of many domains only some are trimmed in one turn, and those seldom that have nothing to trim, so
that thousands of them hold up no event.
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
from celeriac.dispatcher.heartbeat import beat
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
    """When a domain is trimmed next, and the pause that led there. `newest` is the entry that was
    the newest one then."""

    at: float
    pause: float = TRIM_EVERY
    newest: str = ""


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
        self._plans: dict[str, Plan] = {}
        self._empty_since: dict[str, float] = {}
        self._warned = False
        self._may_forget = True

    def turn(
        self,
        domains: Iterable[str],
        *,
        own: MutableMapping[str, HandlerRecord] | None = None,
        discover: bool,
        newest: Mapping[str, str] | None = None,
    ) -> bool:
        """Does what is due; True if there may be domains not seen before, or fewer.

        `own` are the records of the worker's handlers, brought up to date with each beat. `newest`
        has the newest entry of each domain, as far as it is known.
        """
        backend = self._backend()
        if self._is_due("beat", BEAT_EVERY):
            self._establish(backend)
            beat(backend, self._describe(), {} if own is None else own)
        if self._is_due("evictions", EVICTIONS_EVERY):
            self._evictions.look(backend.event_log.evictions())
        self._trim(backend, domains, newest or {})
        forgot = discover and self._is_due("forget", FORGET_EVERY) and self._forget(backend)
        if discover and self._is_due("discover", DISCOVER_EVERY):
            backend.event_log.discover()
            return True
        return forgot

    def beat_soon(self) -> None:
        """Beat at the next turn: what the worker serves has changed."""
        self._last.pop("beat", None)

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
        there = list(domains)
        if len(known) > len(there):
            self._plans = known = {one: known[one] for one in there if one in known}
            self._empty_since = {d: at for d, at in self._empty_since.items() if d in known}
        due = (one for one in there if self._is_trimmed_now(one, newest.get(one, ""), now))
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
            # Many idle domains must not fall due in one turn.
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
        # Something came since: it is looked at as often as a busy domain.
        at = plan.at if plan.newest == newest else plan.at - plan.pause + TRIM_EVERY
        return now >= at

    # -- forgetting

    def _forget(self, backend: Backend) -> bool:
        """Removes domains that hold nothing; whether there were any."""
        now = self._clock()
        empty = [d for d, since in self._empty_since.items() if now - since >= FORGET_EVERY]
        if not empty or not self._may_forget:
            return False
        named = named_domains(backend.registry.handlers().values())
        silent_ms = int(max(backend.bus.current.retention, SILENT_LEAST) * 1000)
        forgotten = []
        for domain in islice((one for one in empty if one not in named), TRIM_AT_ONCE):
            # Again only after another round: most are empty, and not silent for long enough.
            self._empty_since[domain] = now
            try:
                gone = backend.event_log.forget_domain(domain, silent_ms)
            except redis.ResponseError as error:
                if not is_refused(error):
                    raise
                # Left to the workers of a service that may.
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
    """Return the domains that some handler subscribes to by name: they are never forgotten."""
    firsts = {pattern.partition(".")[0] for record in records for pattern in record.patterns}
    return frozenset(firsts - {"*", "#"})


def _report(domain: str, trimmed: Trimmed) -> None:
    if trimmed.entries:
        logger.debug("trimmed %s: %d entries", domain, trimmed.entries)
    if trimmed.dead_letters:
        logger.warning(
            "%d dead letters of %s are gone for good: they were older than dead_retention or more "
            "than max_dead_letters (`celeriac config` shows both)",
            trimmed.dead_letters,
            domain,
        )
