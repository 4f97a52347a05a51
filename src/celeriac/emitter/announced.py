"""Which domains this process has put into a log's set of domains: it does so once for each."""

from __future__ import annotations

from collections.abc import Iterable


class Announced:
    """Thread-safe: at worst a domain is announced twice, which changes nothing."""

    def __init__(self) -> None:
        self._log: object = None
        self._domains: set[str] = set()

    def missing(self, log: object, domains: Iterable[str]) -> list[str]:
        """Those not yet announced to this log. Another log than before knows none."""
        if log is not self._log:
            self._log, self._domains = log, set()
        return [domain for domain in dict.fromkeys(domains) if domain not in self._domains]

    def add(self, domains: Iterable[str]) -> None:
        self._domains.update(domains)
