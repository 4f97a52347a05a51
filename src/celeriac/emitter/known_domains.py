"""The domains that this process has recently registered in an event log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

REMEMBERED = 1800.0  # seconds; less than the hour after which maintenance removes empty domains
MAX_REMEMBERED = 100_000


class KnownDomains:
    """The registered domains. Thread-safe: a domain may be registered twice, without effect.

    A domain is registered again after REMEMBERED, because maintenance removes empty domains.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._event_log: object = None
        self._clock = clock
        self._until: dict[str, float] = {}

    def knows(self, event_log: object, domain: str) -> bool:
        """Return whether the domain is registered in this event log."""
        return event_log is self._event_log and self._until.get(domain, 0.0) > self._clock()

    def missing(self, event_log: object, domains: Iterable[str]) -> list[str]:
        """Return the domains that are not yet registered in this event log."""
        if event_log is not self._event_log:
            self._event_log, self._until = event_log, {}
        now, until = self._clock(), self._until
        return [domain for domain in dict.fromkeys(domains) if until.get(domain, 0.0) <= now]

    def add(self, domains: Iterable[str]) -> None:
        if len(self._until) >= MAX_REMEMBERED:
            self._until = {}
        self._until.update(dict.fromkeys(domains, self._clock() + REMEMBERED))
