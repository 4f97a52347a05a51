"""The matrix, asked: where is this event, what became of it, who is behind, what is missing."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime
from itertools import groupby, islice

import msgspec

from celeriac.circuit import Circuit
from celeriac.errors import InvalidEvent
from celeriac.event import Event, Peek, compile_patterns, literal_domain, masked, peek
from celeriac.log import Entry, entry_key
from celeriac.matrix.cell import Cell, EventStatus, HandlerLag, Located, State, Totals
from celeriac.matrix.count import Count
from celeriac.matrix.lag import lag_of
from celeriac.matrix.locate import locate
from celeriac.matrix.page import PAGE, Found, Item, page_cells
from celeriac.matrix.stand import Stand, stands
from celeriac.registry import HandlerRecord
from celeriac.subscription import Backend

LEAST_READ = 100


class Matrix:
    """Reads only. Every method blocks, and raises redis.RedisError where Redis is away.

    What moves while it is read is seen in its old place or in its new one, never in none.
    Data is masked: what the events themselves name, and members called one of `sensitive`.
    """

    def __init__(self, backend: Backend, sensitive: Collection[str] = ()) -> None:
        self.backend = backend
        self.sensitive = frozenset(sensitive)

    def find(self, event_id: str) -> Located:
        """The event by its id, as it is, postponed ones included. Raises NotFound."""
        return locate(self.backend, self._records(), event_id)

    def status(self, event_id: str) -> EventStatus:
        """The event, and one cell for every handler it concerns. Raises NotFound."""
        located, records = self.find(event_id), self._records()
        event = located.event
        if located.entry is None:
            there = stands(self.backend.log, records, located.domain)
            waiting = Found(State.WAITING, None, None)
            cells = tuple(waiting.cell(stand.record) for stand in there if stand.wants(event))
        else:
            item = Item(located.entry, event)
            found = page_cells(self.backend, records, located.domain, [item])[0]
            cells = tuple(self._with_failures(stand, one, event) for stand, one in found)
        return EventStatus(
            id=event.id,
            type=event.type,
            source=event.source,
            domain=located.domain,
            entry=located.entry,
            place=located.place,
            time_ms=located.time_ms,
            cells=cells,
            subject=event.subject,
            correlationid=event.correlationid,
            causationid=event.causationid,
            handlers=event.handlers,
            data=masked(event, self.sensitive),
        )

    def _with_failures(self, stand: Stand, found: Found, event: Event) -> Cell:
        cell = found.cell(stand.record)
        if not cell.attempts:
            return cell
        failures = tuple(self.backend.ledger.failures(stand.lane, event.id))
        error = failures[-1].error if failures else None
        return msgspec.structs.replace(cell, failures=failures, error=error)

    def events(
        self,
        *,
        domain: str | None = None,
        pattern: str | None = None,
        limit: int = 50,
        since: datetime | None = None,
        state: State | None = None,
    ) -> list[EventStatus]:
        """Up to `limit` events of the log, newest first.

        `pattern` is one as handlers have; `state` asks for a cell in that state. Raises
        SubscriptionError for a bad pattern.
        """
        records = self._records()
        entries = self._newest_first(domain, pattern, since, max(LEAST_READ, min(limit, PAGE)))
        answer: list[EventStatus] = []
        while len(answer) < limit and (some := list(islice(entries, max(LEAST_READ, limit)))):
            found = self._statuses(records, some)
            answer += (one for one in found if state is None or one.has(state))
        return answer[:limit]

    def _newest_first(
        self, domain: str | None, pattern: str | None, since: datetime | None, page: int
    ) -> Iterator[tuple[str, Entry, Peek]]:
        matcher = None if pattern is None else compile_patterns(pattern)
        domain = domain or (None if pattern is None else literal_domain(pattern))
        domains = self.backend.log.domains() if domain is None else {domain}
        start = "-" if since is None else str(int(since.timestamp() * 1000))

        def of(name: str) -> Iterator[tuple[str, Entry]]:
            end = "+"
            while some := self.backend.log.read(
                name, start=start, end=end, count=page, newest_first=True
            ):
                yield from ((name, entry) for entry in some)
                end = f"({some[-1].id}"

        for name, entry in heapq.merge(
            *map(of, sorted(domains)), key=lambda pair: entry_key(pair[1].id), reverse=True
        ):
            event = _peeked(entry)
            if event is not None and (matcher is None or matcher.matches(event.type)):
                yield name, entry, event

    def _statuses(
        self, records: Sequence[HandlerRecord], some: Sequence[tuple[str, Entry, Peek]]
    ) -> list[EventStatus]:
        by_place: dict[tuple[str, str], EventStatus] = {}
        ordered = sorted(some, key=lambda one: one[0])
        for domain, group in groupby(ordered, key=lambda one: one[0]):
            items = [Item(entry.id, event) for _, entry, event in group]
            rows = page_cells(self.backend, records, domain, items)
            for item, found in zip(items, rows, strict=True):
                cells = tuple(one.cell(stand.record) for stand, one in found)
                by_place[domain, item.entry] = _status(domain, item, cells)
        return [by_place[domain, entry.id] for domain, entry, _ in some]

    def lag(self) -> list[HandlerLag]:
        """How far every handler is in every domain it reaches, and groups that nobody owns."""
        records = self._records()
        domains = self._domains(records)
        circuits = self.backend.circuits.all()
        found = [
            msgspec.structs.replace(one, circuit=circuits[one.handler].state)
            if one.handler in circuits
            else one
            for domain in domains
            for one in lag_of(self.backend, records, domain)
        ]
        return sorted(found, key=lambda one: (one.handler, one.domain))

    def circuits(self) -> list[Circuit]:
        """The circuit of every registered handler, and of others that somebody paused."""
        known = self.backend.circuits.all()
        names = known.keys() | {record.id for record in self._records()}
        return [known.get(name, Circuit(handler=name)) for name in sorted(names)]

    def totals(self, progress: Callable[[int, int], None] | None = None) -> Totals:
        """Every event of every log, counted by what became of it.

        Reads it all, PAGE at a time; `progress` is told how many entries of how many.
        """
        records = self._records()
        domains = self._domains(records)
        count = Count(self.backend, records)
        count.total = sum(map(self.backend.log.length, domains))
        for domain in domains:
            for _ in count.domain(domain):
                if progress is not None:
                    progress(count.read, max(count.read, count.total))
        return count.totals()

    def _records(self) -> list[HandlerRecord]:
        return list(self.backend.registry.handlers().values())

    def _domains(self, records: Sequence[HandlerRecord]) -> list[str]:
        joined = {domain for record in records for domain in record.since}
        return sorted(self.backend.log.domains() | joined)


def _peeked(entry: Entry) -> Peek | None:
    try:
        return peek(entry.body) if entry.body is not None else None
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
