"""Queries of the matrix: events, deliveries, backlogs and totals."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime

import msgspec

from celeriac.circuit_breaker import Circuit
from celeriac.delivery import DeliveryState, refused_field
from celeriac.errors import InvalidEvent
from celeriac.event import Event, event_key, masked, read_header
from celeriac.registry import HandlerRecord
from celeriac.store.factory import Backend
from celeriac.tracking.cell import Cell, EventStatus, HandlerLag, Located, Totals
from celeriac.tracking.count import MatrixCount
from celeriac.tracking.lag import lag_of
from celeriac.tracking.last_error import with_errors, with_last_failure
from celeriac.tracking.locate import locate, locate_entry
from celeriac.tracking.overview import HandlerView, overview
from celeriac.tracking.page import PageItem, StoredCell, page_cells
from celeriac.tracking.position import GroupPosition, group_positions
from celeriac.tracking.search import EventPage, Query, search
from celeriac.tracking.tree import Tree, tree

NEWEST = 20_000  # entries read for a list of events without a time limit


class Matrix:
    """Reads what became of events. A bus has it as `bus.matrix`.

    Every method blocks, changes nothing, and raises redis.RedisError while Redis is down. A
    delivery that moves during a read is seen in its old or in its new state. Data is masked: paths
    that the events name, and members whose name is in `sensitive`.
    """

    def __init__(self, backend: Backend, sensitive: frozenset[str] = frozenset()) -> None:
        self.backend = backend
        self.sensitive = sensitive

    def find(
        self,
        event_id: str,
        *,
        source: str | None = None,
        near: str = "",
        deep: bool = False,
    ) -> Located:
        """Return the first event of `find_all`. Raises NotFound."""
        return self.find_all(event_id, source=source, near=near, deep=deep)[0]

    def find_all(
        self,
        event_id: str,
        *,
        source: str | None = None,
        near: str = "",
        deep: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> list[Located]:
        """Return the events with this id, one for each source that used it. Raises NotFound.

        Args:
            source: Only the event of this source.
            near: A `domain/entry` where the event was seen, to look there first.
            deep: Read whole streams. Without it, the number of entries read is bounded.
            progress: Called with the number of entries read.
        """
        return locate(
            self.backend,
            self._records(),
            event_id,
            source=source,
            near=near,
            deep=deep,
            progress=progress,
        )

    def at_entry(self, domain: str, entry: str) -> Located:
        """Return the event of an entry of a domain's stream. Raises NotFound or InvalidEvent."""
        return locate_entry(self.backend.event_log, domain, entry)

    def status(self, event_id: str, *, source: str | None = None) -> EventStatus:
        """Return the event with a cell for every handler it concerns. Raises NotFound."""
        return self.status_of(self.find(event_id, source=source))

    def status_of(self, located: Located) -> EventStatus:
        """Return the status of an event that `find` returned."""
        records, event = self._records(), located.event
        if located.entry is None:
            positions = group_positions(self.backend.event_log, records, located.domain)
            waiting = StoredCell(DeliveryState.WAITING)
            cells = tuple(
                waiting.cell(position.record) for position in positions if position.wants(event)
            )
        else:
            item = PageItem.of(located.entry, event, located.kind)
            row = page_cells(self.backend, records, located.domain, [item])[0]
            cells = tuple(self._with_failures(position, cell, event) for position, cell in row)
        return EventStatus(
            id=event.id,
            type=event.type,
            source=event.source,
            domain=located.domain,
            entry=located.entry,
            location=located.location,
            time_ms=located.time_ms,
            cells=cells,
            subject=event.subject,
            tenant=event.tenant,
            correlationid=event.correlationid,
            causationid=event.causationid,
            handlers=event.handlers,
            dataschema=event.dataschema,
            data=masked(event, self.sensitive),
        )

    def _with_failures(self, position: GroupPosition, stored: StoredCell, event: Event) -> Cell:
        cell = stored.cell(position.record)
        if stored.is_plain:
            return cell
        if cell.into is not None:
            into = self._event_id(position.group.domain, cell.into)
            cell = msgspec.structs.replace(cell, into=into)
        field = event_key(event.id, event.source)
        if stored.refused and stored.row:
            field = refused_field(stored.row.entry)
        history = self.backend.deliveries.history(position.group, field)
        with_history = msgspec.structs.replace(
            cell, failures=history.failures, restarts=history.restarts
        )
        return with_last_failure(with_history, history)

    def _event_id(self, domain: str, entry: str) -> str:
        """Return the id of the event of an entry; the entry itself if it was trimmed."""
        entries = self.backend.event_log.read(domain, start=entry, end=entry, count=1)
        with suppress(InvalidEvent):
            return read_header(entries[0].body or b"").id if entries else entry
        return entry

    def events(
        self,
        *,
        domain: str | None = None,
        pattern: str | None = None,
        limit: int = 50,
        since: datetime | None = None,
        state: DeliveryState | None = None,
        subject: str | None = None,
        tenant: str | None = None,
    ) -> list[EventStatus]:
        """Return up to `limit` events of `newest`."""
        return list(
            self.newest(
                domain=domain,
                pattern=pattern,
                limit=limit,
                since=since,
                state=state,
                subject=subject,
                tenant=tenant,
            ).events
        )

    def newest(
        self,
        *,
        domain: str | None = None,
        pattern: str | None = None,
        limit: int = 50,
        since: datetime | None = None,
        state: DeliveryState | None = None,
        subject: str | None = None,
        tenant: str | None = None,
    ) -> EventPage:
        """Return up to `limit` events, newest first, and whether the search stopped early.

        Cells that are dead or scheduled have their last error.

        Args:
            pattern: A pattern of types, as for `@bus.on`.
            since: Read all entries since then. Default: the newest 20,000 entries.
            state: Only events with a cell in this state.
            subject: Only events whose subject begins with this text.
            tenant: Only events of this tenant.

        Raises:
            SubscriptionError: The pattern is invalid.
        """
        query = Query(
            domain=domain,
            pattern=pattern,
            state=state,
            subject=subject,
            tenant=tenant,
            since_ms=None if since is None else int(since.timestamp() * 1000),
        )
        max_read = NEWEST if since is None else sys.maxsize
        page = search(self.backend, self._records(), query, limit=limit, max_read=max_read)
        events = tuple(with_errors(self.backend, page.events))
        return msgspec.structs.replace(page, events=events)

    def page(self, query: Query, *, before: str = "", limit: int = 50) -> EventPage:
        """Return a page of events that fit the query, newest first.

        Reads a bounded number of entries. `before` is `older` of the page before.
        """
        page = search(self.backend, self._records(), query, before=before, limit=limit)
        return msgspec.structs.replace(page, events=tuple(with_errors(self.backend, page.events)))

    def causes(self, located: Located) -> Tree:
        """Return the tree of events that caused and followed an event."""
        return tree(self.backend, self._records(), located)

    def overview(self) -> list[HandlerView]:
        """Return rates, lag and failures of every handler, all domains together."""
        return overview(self.backend, self._records(), self.lag())

    def lag(self) -> list[HandlerLag]:
        """Return how far every handler is in each domain, and consumer groups without a handler."""
        records = self._records()
        domains = self._domains(records)
        circuits = self.backend.circuits.all()
        lags = [
            msgspec.structs.replace(lag, circuit=circuits[lag.handler].state)
            if lag.handler in circuits
            else lag
            for domain in domains
            for lag in lag_of(self.backend, records, domain)
        ]
        return sorted(lags, key=lambda lag: (lag.handler, lag.domain))

    def circuits(self) -> list[Circuit]:
        """Return the circuit breaker's state of every handler, closed ones included."""
        known = self.backend.circuits.all()
        names = known.keys() | {record.id for record in self._records()}
        return [known.get(name, Circuit(handler=name)) for name in sorted(names)]

    def totals(self, progress: Callable[[int, int], None] | None = None) -> Totals:
        """Return the number of deliveries in each state, of all events.

        Reads every stream. `progress` is called with the entries read and their total.
        """
        records = self._records()
        domains = self._domains(records)
        count = MatrixCount(self.backend, records)
        count.total = sum(map(self.backend.event_log.length, domains))
        for domain in domains:
            for _ in count.domain(domain):
                if progress is not None:
                    progress(count.read, max(count.read, count.total))
        return count.totals()

    def _records(self) -> list[HandlerRecord]:
        return list(self.backend.registry.handlers().values())

    def _domains(self, records: Sequence[HandlerRecord]) -> list[str]:
        joined = {domain for record in records for domain in record.since}
        return sorted(self.backend.event_log.domains() | joined)
