"""The cells of many events of one domain at once: a fixed number of calls for each handler."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from celeriac.delivery import IN_FLIGHT, DeliveryState, DeliveryStore, Pending, Row, refused_field
from celeriac.delivery.chunk_store import ChunkStore
from celeriac.delivery.run_record import Run
from celeriac.event import EventHeader, RawEvent, event_key
from celeriac.event_log import Entry, EntryKind, EventLog, entry_key, entry_time_ms
from celeriac.event_log.open_chunk import OpenChunk
from celeriac.registry import HandlerRecord
from celeriac.store.factory import Backend
from celeriac.tracking.cell import Cell
from celeriac.tracking.delivery_state import Evidence, delivery_state
from celeriac.tracking.position import GroupPosition, stands

PAGE = 1000


@dataclass(frozen=True, slots=True)
class Item:
    """One event of a page: its entry, as much of it as there is, its key, and the entry's kind."""

    entry: str
    event: EventHeader | RawEvent
    key: str
    kind: EntryKind = EntryKind.MADE

    @classmethod
    def of(
        cls, entry: str, event: EventHeader | RawEvent, kind: EntryKind = EntryKind.MADE
    ) -> Item:
        return cls(entry, event, event_key(event.id, event.source), kind)


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of one cell. `run` is of an earlier life where there is a row or a pending
    delivery too."""

    state: DeliveryState
    row: Row | None = None
    pending: Pending | None = None
    chunk: OpenChunk | None = None
    run: Run | None = None
    refused: bool = False
    repeats: bool = False

    def is_about(self, entry: str) -> bool:
        """False if the handler knows the event by another entry: it was emitted twice."""
        return not self.repeats and (self.row is None or self.row.entry == entry)

    @property
    def is_plain(self) -> bool:
        """Whether it was never more than an entry of a chunk, so that it has no history."""
        return self.row is None and self.pending is None

    @property
    def attempts(self) -> int:
        """Attempts begun."""
        if self.pending is not None:
            return self.pending.attempts
        if self.row is not None:
            return self.row.attempt
        began = self.chunk is not None and self.chunk.is_running
        return int(began or self._ran is not None)

    @property
    def _ran(self) -> Run | None:
        """The run that led to the state. Of a run whose record cannot be read no time is known."""
        own = self.state is DeliveryState.PROCESSED and self.is_plain
        return self.run if own and self.run is not None and self.run.at_ms else None

    @property
    def worker(self) -> str | None:
        """The worker that has the delivery, or processed it, where that is recorded."""
        if self.pending is not None:
            return self.pending.owner.partition(":")[2] or None
        if self._ran is not None:
            return self._ran.worker
        in_chunk = self.chunk is not None and self.state in (
            DeliveryState.QUEUED,
            DeliveryState.RUNNING,
        )
        return self.chunk.worker if in_chunk and self.chunk is not None else None

    def cell(self, record: HandlerRecord) -> Cell:
        last = self.row or self._ran
        return Cell(
            handler=record.id,
            service=record.service,
            state=self.state,
            attempts=self.attempts,
            took_us=last.took_us or None if last is not None else None,
            at_ms=last.at_ms if last is not None else None,
            due_ms=self.pending.due_ms if self.pending is not None else None,
            worker=self.worker,
            into=self.row.into or None if self.row is not None else None,
        )


@dataclass(frozen=True, slots=True)
class _View:
    """What holds for a whole page: no row of an entry since `remembered_from_ms` is forgotten, and
    entries before `trimmed_to` are not in the log. `repeated` entries have an event that an earlier
    one has. `ignored`: with cells of unwanted deliveries."""

    remembered_from_ms: int
    trimmed_to: tuple[int, int] = (0, 0)
    repeated: Collection[str] = ()
    ignored: bool = False


def page_cells(
    backend: Backend,
    records: Sequence[HandlerRecord],
    domain: str,
    items: Sequence[Item],
    *,
    ignored: bool = False,
) -> list[list[tuple[GroupPosition, Found]]]:
    """For each item, in order, its cells in the order of `records`. The items are in any order.

    With `ignored`, a handler has a cell also for an event of the domain that it did not want.
    """
    cells: list[list[tuple[GroupPosition, Found]]] = [[] for _ in items]
    if not items:
        return cells
    view = _View(backend.deliveries.kept_since_ms(), ignored=ignored)
    columns = _columns(backend, records, domain, items, view)
    # A replay may have taken a row and made the delivery pending between the two looks. Or there
    # never was a record, or it was trimmed with the entry.
    doubtful = [i for i in range(len(items)) if any(_is_missing(c[i]) for _, c in columns)]
    if doubtful:
        some = [items[i] for i in doubtful]
        pairs = [(Entry(item.entry, None, item.kind), item.key) for item in some]
        view = replace(
            view,
            trimmed_to=_trimmed_to(backend.event_log, domain),
            repeated=backend.chunks.repetitions(domain, pairs).certain,
        )
        again = _columns(backend, records, domain, some, view)
        for (_, column), (_, fresh) in zip(columns, again, strict=True):
            for i, found in zip(doubtful, fresh, strict=True):
                column[i] = found
    for stand, column in columns:
        for mine, found in zip(cells, column, strict=True):
            if found is not None:
                mine.append((stand, found))
    return cells


def _trimmed_to(event_log: EventLog, domain: str) -> tuple[int, int]:
    """Return the key of the oldest entry in the log, the largest of all where it is empty."""
    oldest = event_log.read(domain, count=1)
    return entry_key(oldest[0].id) if oldest else (sys.maxsize, 0)


def _is_missing(found: Found | None) -> bool:
    return found is not None and found.state is DeliveryState.MISSING


def _columns(
    backend: Backend,
    records: Sequence[HandlerRecord],
    domain: str,
    items: Sequence[Item],
    view: _View,
) -> list[tuple[GroupPosition, list[Found | None]]]:
    there = stands(backend.event_log, records, domain)
    return [(stand, list(_column(backend, stand, items, view))) for stand in there]


def _column(
    backend: Backend, stand: GroupPosition, items: Sequence[Item], view: _View
) -> Iterator[Found | None]:
    """The cells of one handler. Everything is read in the order that Evidence asks for."""
    deliveries = backend.deliveries
    chunks = stand.in_chunks(item.entry for item in items)
    in_flight = _in_flight(deliveries, stand, items)
    rows, refused = _rows(deliveries, stand, items)
    runs = _runs(backend.chunks, stand, items, rows, {*chunks, *in_flight})
    for item, row in zip(items, rows, strict=True):
        entry, chunk, pending = item.entry, chunks.get(item.entry), in_flight.get(item.entry)
        ahead, wanted = stand.is_ahead(entry), stand.wants(item.event)
        dead = refused.get(entry)
        if dead and (row or wanted) and not (pending or ahead or (row and row.entry == entry)):
            yield Found(DeliveryState.DEAD, dead, refused=True)
            continue
        if row is not None and row.entry != entry and row.state in IN_FLIGHT:
            # the same event came twice, and its other entry is the one under way
            pending = deliveries.pending(stand.group, row.entry) or pending
        run = runs.get(entry)
        state = delivery_state(
            Evidence(
                ahead=ahead,
                chunk=chunk,
                pending=pending,
                row=row,
                run=run,
                wanted=wanted,
                subscribed=stand.was_subscribed(entry, item.event),
                remembered=entry_time_ms(entry) >= view.remembered_from_ms,
                trimmed=stand.info is not None and entry_key(entry) < view.trimmed_to,
                repeats=entry in view.repeated,
            )
        )
        repeats = entry in view.repeated and state is DeliveryState.IGNORED
        is_shown = state is not DeliveryState.IGNORED or wanted or view.ignored
        if state is None or not is_shown:
            yield None
        else:
            yield Found(state, row, pending, chunk, run, repeats=repeats)


def _rows(
    deliveries: DeliveryStore, stand: GroupPosition, items: Sequence[Item]
) -> tuple[list[Row | None], dict[str, Row]]:
    """The row of each event, and entry → row of those entries that were refused."""
    fields = [*(item.key for item in items), *(refused_field(item.entry) for item in items)]
    rows = deliveries.rows(stand.group, fields)
    own, refused = rows[: len(items)], rows[len(items) :]
    pairs = zip(items, refused, strict=True)
    return own, {item.entry: row for item, row in pairs if row is not None}


def _runs(
    chunks: ChunkStore,
    stand: GroupPosition,
    items: Sequence[Item],
    rows: Sequence[Row | None],
    held: Collection[str],
) -> dict[str, Run]:
    """Entry → how it ran within a chunk, of those about which nothing newer is known."""
    asked = [
        item.entry
        for item, row in zip(items, rows, strict=True)
        if (row is None or row.state in IN_FLIGHT)
        and item.entry not in held
        and not stand.is_ahead(item.entry)
        and (row is not None or stand.wants(item.event))
    ]
    found = chunks.runs(stand.group, asked) if asked else []
    return {entry: run for entry, run in zip(asked, found, strict=True) if run is not None}


def _in_flight(
    deliveries: DeliveryStore, stand: GroupPosition, items: Sequence[Item]
) -> dict[str, Pending]:
    if stand.info is None:
        return {}
    entries = sorted((item.entry for item in items), key=entry_key)
    found: dict[str, Pending] = {}
    first = entries[0]
    while True:
        some = deliveries.pending_between(stand.group, first, entries[-1], PAGE)
        found.update((pending.entry, pending) for pending in some)
        if len(some) < PAGE:
            return found
        first = f"({some[-1].entry}"
