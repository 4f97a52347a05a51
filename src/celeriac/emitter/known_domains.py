"""Which domains this process has put into a log's set of domains lately."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

REMEMBERED = 1800.0  # seconds; less than the hour of dispatcher/janitor.py
MAX_REMEMBERED = 100_000


class KnownDomains:
    """Thread-safe: at worst a domain is announced twice, which changes nothing.

    A domain is announced again after REMEMBERED: one that stays empty for longer is removed.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._log: object = None
        self._clock = clock
        self._until: dict[str, float] = {}

    def missing(self, event_log: object, domains: Iterable[str]) -> list[str]:
        """Those not yet announced to this log. Another log than before knows none."""
        if event_log is not self._log:
            self._log, self._until = event_log, {}
        now, until = self._clock(), self._until
        return [one for one in dict.fromkeys(domains) if until.get(one, 0.0) <= now]

    def add(self, domains: Iterable[str]) -> None:
        if len(self._until) >= MAX_REMEMBERED:
            self._until = {}
        self._until.update(dict.fromkeys(domains, self._clock() + REMEMBERED))
