"""Search the newest events, page by page, at a cost independent of the size of the log.

The logs of all domains are read backwards as one. A page ends when it is full or the limit of
entries is reached; its cursor marks where the next page begins. No event is omitted or repeated,
even if others are emitted at the same time. Dead letters are ordered by the time of their failure,
and an event that is dead for two handlers can be on two pages.
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
from celeriac.tracking.candidate import Candidate, SearchRange, candidates
from celeriac.tracking.cell import Cell, EventStatus
from celeriac.tracking.page import PageItem, page_cells

# Events whose cells are read at a time if the filter needs them. The first batch has the size of
# the page, because most events have the most common states.
CELLS, CELLS_GROWTH = 500, 4
MAX_READ = 5000
MAX_READ_WITH_CELLS = 2000  # entries, if the cells of each event decide

Seen = tuple[Candidate, EventHeader]  # an entry and the header of its event


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Conditions on events. None means no condition.

    Attributes:
        pattern: A pattern of types, as for `@bus.on`.
        domain: The first segment of the type.
        id: The beginning of the id.
        subject: The beginning of the subject.
        tenant: The tenant.
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
    tenant: str | None = None
    service: str | None = None
    handler: str | None = None
    state: DeliveryState | None = None
    since_ms: int | None = None
    until_ms: int | None = None

    @property
    def needs_cells(self) -> bool:
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
    max_read: int | None = None,
) -> EventPage:
    """Return up to `limit` events after the cursor, newest first.

    Reads at most `max_read` entries: by default MAX_READ, or MAX_READ_WITH_CELLS if cells decide.
    Raises SubscriptionError for an invalid pattern.
    """
    fits = _event_test(query)
    chosen = [record for record in records if _serves(query, record)]
    span = SearchRange(since_ms=query.since_ms, until_ms=query.until_ms, before=before)
    domains = _domains(backend.event_log, query, chosen)
    entries = candidates(backend, chosen, domains, query.state, span)
    events: list[EventStatus] = []
    if max_read is None:
        max_read = MAX_READ_WITH_CELLS if query.needs_cells else MAX_READ
    at_once = limit
    read, last = 0, None
    chosen_entries: dict[tuple[str, str], Candidate] = {}
    while True:
        page: list[Seen] = []
        end = True
        for candidate in entries:
            read, last = read + 1, candidate
            domain, entry = candidate.domain, candidate.entry
            event = _peeked(domain, candidate.body)
            if event is not None and fits(event) and (domain, entry) not in chosen_entries:
                chosen_entries[domain, entry] = candidate
                page.append((candidate, event))
            if len(page) >= at_once or read >= max_read:
                end = False
                break
        for status in _fitting(backend, records, chosen, query, page):
            events.append(status)
            if len(events) == limit:
                return _page(
                    events, chosen_entries[status.domain, status.entry or ""], read, full=True
                )
        if end:
            return EventPage(events=tuple(events), read=read)
        if read >= max_read:
            return _page(events, last, read, full=False)
        at_once = max(limit, min(CELLS, at_once * CELLS_GROWTH))


def statuses(
    backend: Backend,
    records: Sequence[HandlerRecord],
    seen: Sequence[Seen],
    *,
    ignored: bool = False,
) -> list[EventStatus]:
    """Return events with their cells, in the given order; `ignored` as in `page_cells`."""
    by_entry: dict[tuple[str, str], EventStatus] = {}
    ordered = sorted(seen, key=lambda pair: pair[0].domain)
    for domain, info in groupby(ordered, key=lambda pair: pair[0].domain):
        items = [PageItem.of(entry.entry, event, entry.kind) for entry, event in info]
        rows = page_cells(backend, records, domain, items, ignored=ignored)
        for item, row in zip(items, rows, strict=True):
            cells = tuple(stored.cell(position.record) for position, stored in row)
            by_entry[domain, item.entry] = _status(domain, item, cells)
    return [by_entry[candidate.domain, candidate.entry] for candidate, _ in seen]


def _page(events: list[EventStatus], last: Candidate | None, read: int, *, full: bool) -> EventPage:
    assert last is not None
    return EventPage(
        events=tuple(events),
        older=f"{last.domain}/{last.at}",
        full=full,
        searched_ms=entry_key(last.at)[0],
        read=read,
    )


def _event_test(query: Query) -> Callable[[EventHeader], bool]:
    matcher = None if query.pattern is None else compile_patterns(query.pattern)

    def fits(event: EventHeader) -> bool:
        return (
            query.tenant in (None, event.tenant)
            and (query.id is None or event.id.startswith(query.id))
            and (query.subject is None or (event.subject or "").startswith(query.subject))
            and (matcher is None or matcher.matches(event.type))
        )

    return fits


def _serves(query: Query, record: HandlerRecord) -> bool:
    return query.service in (None, record.service) and query.handler in (None, record.id)


def _domains(event_log: EventLog, query: Query, chosen: Sequence[HandlerRecord]) -> list[str]:
    """Return the domains that can have such events."""
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
    if query.needs_cells and len(chosen) < len(records):
        # First only the deciding cells; all cells only for matching events.
        decisive = statuses(backend, chosen, some, ignored=ignored)
        some = [seen for seen, event in zip(some, decisive, strict=True) if _has(query, event)]
    events = statuses(backend, records, some, ignored=ignored)
    return [event for event in events if _has(query, event)]


def _has(query: Query, event: EventStatus) -> bool:
    if not query.needs_cells:
        return True
    return any(
        query.service in (None, cell.service)
        and query.handler in (None, cell.handler)
        and query.state in (None, cell.state)
        for cell in event.cells
    )


def _peeked(domain: str, body: bytes | None) -> EventHeader | None:
    try:
        return read_header(body, domain) if body is not None else None
    except InvalidEvent:
        return None


def _status(domain: str, item: PageItem, cells: tuple[Cell, ...]) -> EventStatus:
    event, entry = item.event, item.entry
    return EventStatus(
        id=event.id,
        type=event.type,
        source=event.source,
        domain=domain,
        entry=entry,
        location="log",
        time_ms=entry_key(entry)[0],
        cells=cells,
        subject=event.subject,
        tenant=event.tenant,
        correlationid=event.correlationid,
        handlers=event.handlers,
    )
