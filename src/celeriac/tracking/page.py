"""The cells of many events of one domain: a fixed number of calls per handler."""

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
from celeriac.tracking.position import GroupPosition, group_positions

PAGE = 1000


@dataclass(frozen=True, slots=True)
class PageItem:
    """One event of a page: its entry, its header, its key, and the entry's kind."""

    entry: str
    event: EventHeader | RawEvent
    key: str
    kind: EntryKind = EntryKind.MADE

    @classmethod
    def of(
        cls, entry: str, event: EventHeader | RawEvent, kind: EntryKind = EntryKind.MADE
    ) -> PageItem:
        return cls(entry, event, event_key(event.id, event.source), kind)


@dataclass(frozen=True, slots=True)
class StoredCell:
    """The stored records of one cell. `run` can be from an earlier life than `row` or `pending`."""

    state: DeliveryState
    row: Row | None = None
    pending: Pending | None = None
    chunk: OpenChunk | None = None
    run: Run | None = None
    refused: bool = False
    repeats: bool = False

    def is_about(self, entry: str) -> bool:
        """Return False if the handler's record has another entry: the event was emitted twice."""
        return not self.repeats and (self.row is None or self.row.entry == entry)

    @property
    def is_plain(self) -> bool:
        """Whether the delivery was only an entry of a chunk, so that it has no history."""
        return self.row is None and self.pending is None

    @property
    def attempts(self) -> int:
        """The number of started attempts."""
        if self.pending is not None:
            return self.pending.attempts
        if self.row is not None:
            return self.row.attempt
        began = self.chunk is not None and self.chunk.is_running
        return int(began or self._ran is not None)

    @property
    def _ran(self) -> Run | None:
        """The run that led to the state; None if its record cannot be read."""
        is_own = self.state is DeliveryState.PROCESSED and self.is_plain
        return self.run if is_own and self.run is not None and self.run.at_ms else None

    @property
    def worker(self) -> str | None:
        """The worker that has the delivery, or processed it, if recorded."""
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
    """Values that apply to a page.

    Rows of entries since `remembered_from_ms` have not expired, and entries before `trimmed_to` are
    not in the log. `repeated` entries have the event of an earlier one. `ignored`: include unwanted
    deliveries.
    """

    remembered_from_ms: int
    trimmed_to: tuple[int, int] = (0, 0)
    repeated: Collection[str] = ()
    ignored: bool = False


def page_cells(
    backend: Backend,
    records: Sequence[HandlerRecord],
    domain: str,
    items: Sequence[PageItem],
    *,
    ignored: bool = False,
) -> list[list[tuple[GroupPosition, StoredCell]]]:
    """Return the cells of each item, in the order of `items` and `records`.

    Items can have any order. With `ignored`, there is also a cell for events of the domain that the
    handler does not want.
    """
    cells: list[list[tuple[GroupPosition, StoredCell]]] = [[] for _ in items]
    if not items:
        return cells
    view = _View(backend.deliveries.kept_since_ms(), ignored=ignored)
    columns = _columns(backend, records, domain, items, view)
    # A replay can have deleted a row and made the delivery pending between the two reads. Or there
    # was no record, or it was trimmed with the entry.
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
            for i, cell in zip(doubtful, fresh, strict=True):
                column[i] = cell
    for position, column in columns:
        for row, cell in zip(cells, column, strict=True):
            if cell is not None:
                row.append((position, cell))
    return cells


def _trimmed_to(event_log: EventLog, domain: str) -> tuple[int, int]:
    """Return the key of the oldest entry in the log; the largest key if the log is empty."""
    oldest = event_log.read(domain, count=1)
    return entry_key(oldest[0].id) if oldest else (sys.maxsize, 0)


def _is_missing(cell: StoredCell | None) -> bool:
    return cell is not None and cell.state is DeliveryState.MISSING


def _columns(
    backend: Backend,
    records: Sequence[HandlerRecord],
    domain: str,
    items: Sequence[PageItem],
    view: _View,
) -> list[tuple[GroupPosition, list[StoredCell | None]]]:
    positions = group_positions(backend.event_log, records, domain)
    return [(position, list(_column(backend, position, items, view))) for position in positions]


def _column(
    backend: Backend, position: GroupPosition, items: Sequence[PageItem], view: _View
) -> Iterator[StoredCell | None]:
    """Yield the cells of one handler. The order of reads is the one that Evidence requires."""
    deliveries = backend.deliveries
    chunks = position.in_chunks(item.entry for item in items)
    in_flight = _in_flight(deliveries, position, items)
    rows, refused = _rows(deliveries, position, items)
    runs = _runs(backend.chunks, position, items, rows, {*chunks, *in_flight})
    for item, row in zip(items, rows, strict=True):
        entry, chunk, pending = item.entry, chunks.get(item.entry), in_flight.get(item.entry)
        ahead, wanted = position.is_ahead(entry), position.wants(item.event)
        dead = refused.get(entry)
        if dead and (row or wanted) and not (pending or ahead or (row and row.entry == entry)):
            yield StoredCell(DeliveryState.DEAD, dead, refused=True)
            continue
        if row is not None and row.entry != entry and row.state in IN_FLIGHT:
            # the same event was emitted twice, and its other entry is in flight
            pending = deliveries.pending(position.group, row.entry) or pending
        run = runs.get(entry)
        state = delivery_state(
            Evidence(
                ahead=ahead,
                chunk=chunk,
                pending=pending,
                row=row,
                run=run,
                wanted=wanted,
                subscribed=position.was_subscribed(entry, item.event),
                remembered=entry_time_ms(entry) >= view.remembered_from_ms,
                trimmed=position.info is not None and entry_key(entry) < view.trimmed_to,
                repeats=entry in view.repeated,
            )
        )
        repeats = entry in view.repeated and state is DeliveryState.IGNORED
        is_shown = state is not DeliveryState.IGNORED or wanted or view.ignored
        if state is None or not is_shown:
            yield None
        else:
            yield StoredCell(state, row, pending, chunk, run, repeats=repeats)


def _rows(
    deliveries: DeliveryStore, position: GroupPosition, items: Sequence[PageItem]
) -> tuple[list[Row | None], dict[str, Row]]:
    """Return the row of each event, and the rows of refused entries by entry."""
    fields = [*(item.key for item in items), *(refused_field(item.entry) for item in items)]
    rows = deliveries.rows(position.group, fields)
    by_key, refused = rows[: len(items)], rows[len(items) :]
    pairs = zip(items, refused, strict=True)
    return by_key, {item.entry: row for item, row in pairs if row is not None}


def _runs(
    chunks: ChunkStore,
    position: GroupPosition,
    items: Sequence[PageItem],
    rows: Sequence[Row | None],
    open_entries: Collection[str],
) -> dict[str, Run]:
    """Return the runs within chunks by entry, for entries without a newer record."""
    completed = [
        item.entry
        for item, row in zip(items, rows, strict=True)
        if (row is None or row.state in IN_FLIGHT)
        and item.entry not in open_entries
        and not position.is_ahead(item.entry)
        and (row is not None or position.wants(item.event))
    ]
    runs = chunks.runs(position.group, completed) if completed else []
    return {entry: run for entry, run in zip(completed, runs, strict=True) if run is not None}


def _in_flight(
    deliveries: DeliveryStore, position: GroupPosition, items: Sequence[PageItem]
) -> dict[str, Pending]:
    if position.info is None:
        return {}
    entries = sorted((item.entry for item in items), key=entry_key)
    in_flight: dict[str, Pending] = {}
    first = entries[0]
    while True:
        page = deliveries.pending_between(position.group, first, entries[-1], PAGE)
        in_flight.update((pending.entry, pending) for pending in page)
        if len(page) < PAGE:
            return in_flight
        first = f"({page[-1].entry}"
