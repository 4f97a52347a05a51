"""Reading new entries of many logs as one, in the order in which they came."""

from __future__ import annotations

import time
from collections.abc import Iterator

from celeriac.event import literal_domain
from celeriac.event_log import Entry, EventLog, entry_key

PAGE = 500  # entries of one domain at a time
LOOK_EVERY = 1.0  # seconds; domains that are new are looked for this often
BEFORE_ALL = "0-0"
LAST_OF_MS = 2**64 - 1


class Follower:
    """Follows the logs that a pattern reaches, from now on or from a time (ms).

    Not thread-safe. What raised may be called again: nothing is left out, and nothing comes twice.
    """

    def __init__(
        self, event_log: EventLog, pattern: str = "#", since_ms: int | None = None
    ) -> None:
        self._log = event_log
        self._only = literal_domain(pattern)
        self._since = None if since_ms is None else f"{max(0, since_ms - 1)}-{LAST_OF_MS}"
        self._seen: dict[str, str] = {}
        self._began = False
        self._looked = float("-inf")

    def poll(self, seconds: float) -> list[tuple[str, Entry]]:
        """(domain, entry) pairs that are new. Blocks for at most so long where there are none.

        Raises redis.RedisError.
        """
        self._look_for_domains()
        if not self._seen:
            time.sleep(seconds)
            return []
        self._log.wait(self._seen, seconds)
        return list(self._new())

    def _look_for_domains(self) -> None:
        now = time.monotonic()
        if self._began and now - self._looked < LOOK_EVERY:
            return
        domains = {self._only} if self._only else self._log.domains()
        for domain in sorted(domains - self._seen.keys()):
            # One that appeared since is followed from its first entry.
            self._seen[domain] = BEFORE_ALL if self._began else self._start(domain)
        self._began, self._looked = True, now

    def _start(self, domain: str) -> str:
        if self._since is not None:
            return self._since
        newest = self._log.read(domain, count=1, newest_first=True)
        return newest[0].id if newest else BEFORE_ALL

    def _new(self) -> Iterator[tuple[str, Entry]]:
        found: list[tuple[str, Entry]] = []
        known = None  # until here nothing of any domain is unread
        for domain, seen in self._seen.items():
            page = self._log.read(domain, start=f"({seen}", count=PAGE)
            found += ((domain, entry) for entry in page)
            if len(page) == PAGE:
                last = entry_key(page[-1].id)
                known = last if known is None else min(known, last)
        found.sort(key=lambda one: entry_key(one[1].id))
        for domain, entry in found:
            if known is not None and entry_key(entry.id) > known:
                return
            self._seen[domain] = entry.id
            yield domain, entry
