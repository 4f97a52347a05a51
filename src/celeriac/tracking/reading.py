"""Read logs page by page, within the limits of one lookup."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from celeriac.event_log import Entry, EventLog
from celeriac.transfer import FIRST_PAGE, next_page

PAGE = 1000
# Limits of one search, over all domains.
MAX_ENTRIES, MAX_BYTES = 4_000, 4_000_000


class LogReader:
    """Count what is read, and stop at MAX_ENTRIES or MAX_BYTES per search, unless `deep`.

    `is_partial`: something was not read. `entries` is the number of events read.
    """

    def __init__(self, *, deep: bool, progress: Callable[[int], None] | None = None) -> None:
        self.is_partial = False
        self.entries = 0
        self._deep = deep
        self._progress = progress
        self.begin()

    def begin(self) -> None:
        """Begin the next search."""
        self._entries_left, self._bytes_left = MAX_ENTRIES, MAX_BYTES

    def pages(
        self, event_log: EventLog, domain: str, start: str, end: str, newest_first: bool
    ) -> Iterator[Sequence[Entry]]:
        """Yield the entries of a range of the log, page by page."""
        count = FIRST_PAGE
        while entries := self._page(event_log, domain, start, end, count, newest_first):
            yield entries
            if len(entries) < count:
                return
            if newest_first:
                end = f"({entries[-1].id}"
            else:
                start = f"({entries[-1].id}"
            count = self._next_page(_sizes(entries))

    def _next_page(self, sizes: Sequence[int]) -> int:
        """Return the number of entries to read next, within the limits for entries of this size."""
        count = next_page(sizes, PAGE)
        if self._deep:
            return count
        return max(1, min(count, self._entries_left, self._bytes_left // max(1, *sizes)))

    def _page(
        self, event_log: EventLog, domain: str, start: str, end: str, count: int, newest_first: bool
    ) -> Sequence[Entry]:
        if not self._may_read():
            return ()
        entries = event_log.read(
            domain, start=start, end=end, count=count, newest_first=newest_first
        )
        self._note(_sizes(entries))
        return entries

    def upcoming(self, event_log: EventLog, domain: str) -> Iterator[tuple[int, bytes]]:
        """Yield the delayed events of the domain with their times, the next one first."""
        start, count = 0, FIRST_PAGE
        while self._may_read():
            events = event_log.upcoming(domain, start=start, count=count)
            sizes = [len(body) for _, body in events]
            self._note(sizes)
            yield from events
            if len(events) < count:
                return
            start, count = start + len(events), self._next_page(sizes)

    def _may_read(self) -> bool:
        if self._deep or (self._entries_left > 0 and self._bytes_left > 0):
            return True
        self.is_partial = True
        return False

    def _note(self, sizes: Sequence[int]) -> None:
        self.entries += len(sizes)
        self._entries_left -= len(sizes)
        self._bytes_left -= sum(sizes)
        if self._progress is not None:
            self._progress(self.entries)


def _sizes(entries: Sequence[Entry]) -> list[int]:
    return [len(entry.body or b"") for entry in entries]
