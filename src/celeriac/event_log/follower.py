"""Read new entries of many event logs as one sequence, ordered by entry id."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from celeriac.event import literal_domain
from celeriac.event_log.event_log import Entry, EventLog, entry_key

PAGE = 500  # entries of one domain in one read
DOMAINS_EVERY = 1.0  # seconds between two reads of the list of domains
BEFORE_ALL = "0-0"
LAST_OF_MS = 2**64 - 1


class Follower:
    """Follow the event logs that patterns match, from now on or from a time (ms).

    Not thread-safe. A call that raised can be repeated: no entry is omitted or returned twice.
    """

    def __init__(
        self, event_log: EventLog, patterns: Sequence[str] = ("#",), since_ms: int | None = None
    ) -> None:
        self._event_log = event_log
        domains = {literal_domain(pattern) for pattern in patterns}
        # None if a pattern begins with a wildcard.
        self._only = None if None in domains else frozenset(filter(None, domains))
        self._since = None if since_ms is None else f"{max(0, since_ms - 1)}-{LAST_OF_MS}"
        self._seen: dict[str, str] = {}
        self._began = False
        self._domains_read = float("-inf")

    def poll(self, seconds: float) -> list[tuple[str, Entry]]:
        """Return new (domain, entry) pairs; block for at most `seconds` if there are none.

        Raises redis.RedisError.
        """
        self.wait(seconds)
        return list(self.new())

    def wait(self, seconds: float) -> None:
        """Block until there may be new entries, for at most `seconds`. Raises redis.RedisError."""
        self._add_domains()
        if self._seen:
            self._event_log.wait(self._seen, seconds)
        else:
            time.sleep(seconds)

    def _add_domains(self) -> None:
        now = time.monotonic()
        if self._began and now - self._domains_read < DOMAINS_EVERY:
            return
        domains = self._event_log.domains() if self._only is None else self._only
        for domain in sorted(domains - self._seen.keys()):
            # A domain that appears later is read from its first entry.
            self._seen[domain] = BEFORE_ALL if self._began else self._start(domain)
        self._began, self._domains_read = True, now

    def _start(self, domain: str) -> str:
        if self._since is not None:
            return self._since
        newest = self._event_log.read(domain, count=1, newest_first=True)
        return newest[0].id if newest else BEFORE_ALL

    def new(self) -> Iterator[tuple[str, Entry]]:
        """Yield new (domain, entry) pairs. Each counts as read when the next is taken."""
        entries: list[tuple[str, Entry]] = []
        known = None  # no domain has unread entries up to this key
        for domain, seen in self._seen.items():
            page = self._event_log.read(domain, start=f"({seen}", count=PAGE)
            entries += ((domain, entry) for entry in page)
            if len(page) == PAGE:
                last = entry_key(page[-1].id)
                known = last if known is None else min(known, last)
        entries.sort(key=lambda pair: entry_key(pair[1].id))
        for domain, entry in entries:
            if known is not None and entry_key(entry.id) > known:
                return
            self._seen[domain] = entry.id
            yield domain, entry
