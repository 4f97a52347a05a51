"""Count the wanted entries between the position of a handler and the end of the log.

Redis reports how many entries are ahead, not how many a handler wants. A bounded number is read,
once for all handlers at the same position. The rest is assumed to have the same share.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from celeriac.errors import InvalidEvent
from celeriac.event import EventHeader, read_header
from celeriac.event_log import Entry, EventLog
from celeriac.tracking.position import GroupPosition

# Entries read from a position: enough to estimate a share. If a handler wants none of them, more
# are read, so that an idle service in a busy domain seldom needs a worker.
MAX_READ, MAX_READ_UNWANTED = 1_000, 10_000
MAX_BYTES, PAGE_BYTES = 4_000_000, 1_000_000
# The first page, as the size of the events is unknown.
FIRST_PAGE = 16
BEGINNING = "0-0"


@dataclass(frozen=True, slots=True)
class Ahead:
    """The wanted entries ahead of a handler.

    `is_estimate`: not all entries were read. `is_unknown`: and of those read, none was wanted.
    """

    wanted: int = 0
    is_estimate: bool = False
    is_unknown: bool = False


def count_ahead(
    event_log: EventLog, domain: str, positions: Sequence[GroupPosition]
) -> list[Ahead]:
    """Return the wanted entries ahead of each position of a domain.

    Blocks for a few round trips for each distinct position.
    """
    together: defaultdict[str, list[int]] = defaultdict(list)
    counted = [Ahead()] * len(positions)
    for index, position in enumerate(positions):
        if position.info is not None:
            if position.info.lag != 0:
                together[position.info.last_delivered].append(index)
        elif position.since is None:
            together[BEGINNING].append(index)
    for after, indexes in together.items():
        here = [positions[index] for index in indexes]
        for index, ahead in zip(indexes, _count(event_log, domain, after, here), strict=True):
            counted[index] = ahead
    return counted


def _count(
    event_log: EventLog, domain: str, after: str, positions: Sequence[GroupPosition]
) -> Iterator[Ahead]:
    counts = [_Count(position) for position in positions]
    read, size, is_end = 0, 0, False
    while not is_end and size < MAX_BYTES and read < MAX_READ_UNWANTED:
        reading = [count for count in counts if read < MAX_READ or not count.wanted]
        if not reading:
            break
        fits = int(PAGE_BYTES * read / size) if size else FIRST_PAGE
        limit = max(1, min(MAX_READ, fits))
        page = event_log.read(domain, start=f"({after}", count=limit)
        is_end = len(page) < limit
        read += len(page)
        size += sum(len(entry.body or b"") for entry in page)
        after = page[-1].id if page else after
        headers = [_header(entry, domain) for entry in page]
        for count in reading:
            count.add(page, headers, is_end=is_end)
    for count in counts:
        yield count.ahead(event_log)


class _Count:
    """The entries that one handler wants, of those that were read for it."""

    def __init__(self, position: GroupPosition) -> None:
        self.position = position
        self.wanted = self.read = 0
        self.is_end = False
        self._wants: dict[tuple[str, str | None], bool] = {}

    def add(
        self, page: Sequence[Entry], headers: Sequence[EventHeader | None], *, is_end: bool
    ) -> None:
        self.read += len(page)
        self.is_end = is_end
        for entry, header in zip(page, headers, strict=True):
            if header is None:
                self.wanted += 1  # a worker dead-letters it for each handler
            elif self._is_for_handler(header):
                self.wanted += self.position.was_subscribed(entry.id, header)

    def _is_for_handler(self, header: EventHeader) -> bool:
        key = header.type, header.handler_refs
        if key not in self._wants:
            self._wants[key] = self.position.wants(header)
        return self._wants[key]

    def ahead(self, event_log: EventLog) -> Ahead:
        if self.is_end:
            return Ahead(self.wanted)
        if not self.wanted:
            return Ahead(is_estimate=True, is_unknown=True)
        info, domain = self.position.info, self.position.group.domain
        lag = event_log.length(domain) if info is None else info.lag or 0
        return Ahead(math.ceil(self.wanted * max(lag, self.read) / self.read), is_estimate=True)


def _header(entry: Entry, domain: str) -> EventHeader | None:
    """Return the header of an entry; None if it is not an event of the domain."""
    try:
        return read_header(entry.body or b"", domain)
    except InvalidEvent:
        return None
