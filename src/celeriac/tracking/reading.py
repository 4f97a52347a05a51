"""Reading logs page by page, as much as one look-up may cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from celeriac.event_log import Entry, EventLog
from celeriac.transfer import FIRST_PAGE, next_page

PAGE = 1000
# Of one place where an event may be, over all domains.
MAX_ENTRIES, MAX_BYTES = 5_000, 32_000_000


class Reading:
    """Counts what is read, and ends it at MAX_ENTRIES or MAX_BYTES for each place unless `deep`.

    `is_partial` says that something was not read, `entries` how many events were.
    """

    def __init__(self, *, deep: bool, progress: Callable[[int], None] | None = None) -> None:
        self.is_partial = False
        self.entries = 0
        self._deep = deep
        self._progress = progress
        self.begin()

    def begin(self) -> None:
        """Another place is looked at."""
        self._entries_left, self._bytes_left = MAX_ENTRIES, MAX_BYTES

    def pages(
        self, event_log: EventLog, domain: str, start: str, end: str, newest_first: bool
    ) -> Iterator[Sequence[Entry]]:
        """The entries of a span of the log, from one end of it."""
        count = FIRST_PAGE
        while some := self._page(event_log, domain, start, end, count, newest_first):
            yield some
            if len(some) < count:
                return
            if newest_first:
                end = f"({some[-1].id}"
            else:
                start = f"({some[-1].id}"
            count = next_page(_sizes(some), PAGE)

    def _page(
        self, event_log: EventLog, domain: str, start: str, end: str, count: int, newest_first: bool
    ) -> Sequence[Entry]:
        if not self._may_read():
            return ()
        some = event_log.read(domain, start=start, end=end, count=count, newest_first=newest_first)
        self._note(_sizes(some))
        return some

    def upcoming(self, event_log: EventLog, domain: str) -> Iterator[tuple[int, bytes]]:
        """The postponed events of the domain with their times, the next one first."""
        start, count = 0, FIRST_PAGE
        while self._may_read():
            some = event_log.upcoming(domain, start=start, count=count)
            sizes = [len(body) for _, body in some]
            self._note(sizes)
            yield from some
            if len(some) < count:
                return
            start, count = start + len(some), next_page(sizes, PAGE)

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
