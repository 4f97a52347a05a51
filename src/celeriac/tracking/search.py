"""The newest events, page by page, at a cost that does not grow with the log.

The logs of all domains are read backwards as one. A page ends when it is full, or when so many
entries were read; its cursor says where the next one goes on. Nothing is skipped and nothing comes
twice, whatever is emitted meanwhile. Dead letters alone come in the order in which they died, and
an event that two handlers gave up may come on two pages.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

import msgspec

from celeriac.delivery import DeliveryState
from celeriac.errors import InvalidEvent
from celeriac.event import EventHeader, compile_patterns, literal_domain, read_header
from celeriac.event_log import EventLog, entry_key
from celeriac.registry import HandlerRecord
from celeriac.store.factory import Backend
from celeriac.tracking.candidate import Candidate, Span, candidates
from celeriac.tracking.cell import Cell, EventStatus
from celeriac.tracking.page import Item, page_cells

# Events whose cells are looked up at a time, where these decide: at first as many as are wanted,
# since most events are in most of the states that are asked for.
CELLS, CELLS_GROWTH = 500, 4
MOST_READ = 5000
MOST_LOOKED_UP = 2000  # where the cells of each event have to be looked up to know whether it fits

Seen = tuple[Candidate, EventHeader]  # an entry, and what was read of its event: not its data


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Conditions on events. None means no condition.

    Attributes:
        pattern: A pattern of types, as for `@bus.on`.
        domain: The first segment of the type.
        id: The beginning of the id.
        subject: The beginning of the subject.
        service: Only events with a cell of this service. With `handler` and `state`, the same cell.
        handler: Only events with a cell of this handler.
        state: Only events with a cell in this state.
        since_ms: Earliest time, in ms since the epoch.
        until_ms: Latest time, in ms since the epoch.
    """

    pattern: str | None = None
    domain: str | None = None
    id: str | None = None
    subject: str | None = None
    service: str | None = None
    handler: str | None = None
    state: DeliveryState | None = None
    since_ms: int | None = None
    until_ms: int | None = None

    @property
    def asks_for_cells(self) -> bool:
        return any((self.service, self.handler, self.state))


class EventPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of events.

    Attributes:
        events: The events, newest first.
        older: Cursor of the next page; None at the end.
        full: False if the search stopped before it had `limit` events.
        searched_ms: Time at which the search stopped, in ms since the epoch.
        read: Number of entries read.
    """

    events: tuple[EventStatus, ...]
    older: str | None = None
    full: bool = True
    searched_ms: int | None = None
    read: int = 0


def search(
    backend: Backend,
    records: Sequence[HandlerRecord],
    query: Query,
    *,
    before: str = "",
    limit: int = 50,
    most_read: int | None = None,
) -> EventPage:
    """Up to `limit` events past the cursor, newest first.

    Reads `most_read` entries; where that is None, MOST_READ, or MOST_LOOKED_UP if cells decide.

    Raises SubscriptionError for a bad pattern.
    """
    fits = _event_test(query)
    chosen = [record for record in records if _serves(query, record)]
    span = Span(since_ms=query.since_ms, until_ms=query.until_ms, before=before)
    domains = _domains(backend.event_log, query, chosen)
    entries = candidates(backend, chosen, domains, query.state, span)
    found: list[EventStatus] = []
    if most_read is None:
        most_read = MOST_LOOKED_UP if query.asks_for_cells else MOST_READ
    at_once = limit
    read, last = 0, None
    places: dict[tuple[str, str], Candidate] = {}
    while True:
        some: list[Seen] = []
        end = True
        for candidate in entries:
            read, last = read + 1, candidate
            domain, entry = candidate.domain, candidate.entry
            event = _peeked(domain, candidate.body)
            if event is not None and fits(event) and (domain, entry) not in places:
                places[domain, entry] = candidate
                some.append((candidate, event))
            if len(some) >= at_once or read >= most_read:
                end = False
                break
        for one in _fitting(backend, records, chosen, query, some):
            found.append(one)
            if len(found) == limit:
                return _page(found, places[one.domain, one.entry or ""], read, full=True)
        if end:
            return EventPage(events=tuple(found), read=read)
        if read >= most_read:
            return _page(found, last, read, full=False)
        at_once = max(limit, min(CELLS, at_once * CELLS_GROWTH))


def statuses(
    backend: Backend,
    records: Sequence[HandlerRecord],
    some: Sequence[Seen],
    *,
    ignored: bool = False,
) -> list[EventStatus]:
    """Events of any domains with their cells, in the order given; `ignored` as in `page_cells`."""
    by_place: dict[tuple[str, str], EventStatus] = {}
    ordered = sorted(some, key=lambda one: one[0].domain)
    for domain, info in groupby(ordered, key=lambda one: one[0].domain):
        items = [Item.of(one.entry, event, one.kind) for one, event in info]
        rows = page_cells(backend, records, domain, items, ignored=ignored)
        for item, found in zip(items, rows, strict=True):
            cells = tuple(one.cell(stand.record) for stand, one in found)
            by_place[domain, item.entry] = _status(domain, item, cells)
    return [by_place[one.domain, one.entry] for one, _ in some]


def _page(found: list[EventStatus], last: Candidate | None, read: int, *, full: bool) -> EventPage:
    assert last is not None
    return EventPage(
        events=tuple(found),
        older=f"{last.domain}/{last.at}",
        full=full,
        searched_ms=entry_key(last.at)[0],
        read=read,
    )


def _event_test(query: Query) -> Callable[[EventHeader], bool]:
    matcher = None if query.pattern is None else compile_patterns(query.pattern)

    def fits(event: EventHeader) -> bool:
        return (
            (query.id is None or event.id.startswith(query.id))
            and (query.subject is None or (event.subject or "").startswith(query.subject))
            and (matcher is None or matcher.matches(event.type))
        )

    return fits


def _serves(query: Query, record: HandlerRecord) -> bool:
    return query.service in (None, record.service) and query.handler in (None, record.id)


def _domains(event_log: EventLog, query: Query, chosen: Sequence[HandlerRecord]) -> list[str]:
    """Where there may be such events at all."""
    domains = event_log.domains() if query.domain is None else frozenset({query.domain})
    if query.pattern is not None and (literal := literal_domain(query.pattern)) is not None:
        domains = domains & {literal}
    if query.service or query.handler:
        matchers = [compile_patterns(*record.patterns) for record in chosen]
        if all(matcher.domains is not None for matcher in matchers):
            reached = {domain for matcher in matchers for domain in matcher.domains or ()}
            reached |= {domain for record in chosen for domain in record.since}
            domains = domains & reached
    return sorted(domains)


def _fitting(
    backend: Backend,
    records: Sequence[HandlerRecord],
    chosen: Sequence[HandlerRecord],
    query: Query,
    some: Sequence[Seen],
) -> list[EventStatus]:
    ignored = query.state is DeliveryState.IGNORED
    if query.asks_for_cells and len(chosen) < len(records):
        # First only what decides; the whole row for those that fit.
        there = statuses(backend, chosen, some, ignored=ignored)
        some = [seen for seen, one in zip(some, there, strict=True) if _has(query, one)]
    found = statuses(backend, records, some, ignored=ignored)
    return [one for one in found if _has(query, one)]


def _has(query: Query, one: EventStatus) -> bool:
    if not query.asks_for_cells:
        return True
    return any(
        query.service in (None, cell.service)
        and query.handler in (None, cell.handler)
        and query.state in (None, cell.state)
        for cell in one.cells
    )


def _peeked(domain: str, body: bytes | None) -> EventHeader | None:
    try:
        return read_header(body, domain) if body is not None else None
    except InvalidEvent:
        return None


def _status(domain: str, item: Item, cells: tuple[Cell, ...]) -> EventStatus:
    event, entry = item.event, item.entry
    return EventStatus(
        id=event.id,
        type=event.type,
        source=event.source,
        domain=domain,
        entry=entry,
        place="log",
        time_ms=entry_key(entry)[0],
        cells=cells,
        subject=event.subject,
        correlationid=event.correlationid,
        handlers=event.handlers,
    )
