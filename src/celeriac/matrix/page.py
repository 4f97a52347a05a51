"""The cells of many events of one domain at once: a fixed number of calls for each handler."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from celeriac.event import Peek, RawEvent, event_key
from celeriac.ledger import IN_FLIGHT, Ledger, Pending, Row, refused_field
from celeriac.log import entry_key
from celeriac.matrix.cell import Cell
from celeriac.matrix.stand import Stand, stands
from celeriac.matrix.state import State
from celeriac.registry import HandlerRecord
from celeriac.subscription import Backend

PAGE = 1000


@dataclass(frozen=True, slots=True)
class Item:
    """One event of a page: its entry, as much of it as there is, and its key."""

    entry: str
    event: Peek | RawEvent
    key: str

    @classmethod
    def of(cls, entry: str, event: Peek | RawEvent) -> Item:
        return cls(entry, event, event_key(event.id, event.source))


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of one cell."""

    state: State
    row: Row | None
    pending: Pending | None
    refused: bool = False

    def is_about(self, entry: str) -> bool:
        """False if the handler knows the event by another entry: it was emitted twice."""
        return self.row is None or self.row.entry == entry

    @property
    def attempts(self) -> int:
        """Attempts begun."""
        if self.pending is not None:
            return self.pending.attempts
        return self.row.attempt if self.row is not None else 0

    def cell(self, record: HandlerRecord) -> Cell:
        row, pending = self.row, self.pending
        return Cell(
            handler=record.id,
            service=record.service,
            state=self.state,
            attempts=self.attempts,
            took_us=row.took_us if row is not None and row.took_us else None,
            at_ms=row.at_ms if row is not None else None,
            due_ms=pending.due_ms if pending is not None else None,
        )


def page_cells(
    backend: Backend, records: Sequence[HandlerRecord], domain: str, items: Sequence[Item]
) -> list[list[tuple[Stand, Found]]]:
    """For each item, in order, its cells in the order of `records`. The items are in any order."""
    cells: list[list[tuple[Stand, Found]]] = [[] for _ in items]
    if not items:
        return cells
    remembered = backend.ledger.remembers_from_ms()
    columns = _columns(backend, records, domain, items, remembered)
    # A replay may have taken a row and made the delivery pending between the two looks.
    doubtful = [i for i in range(len(items)) if any(_is_missing(c[i]) for _, c in columns)]
    if doubtful:
        again = _columns(backend, records, domain, [items[i] for i in doubtful], remembered)
        for (_, column), (_, fresh) in zip(columns, again, strict=True):
            for i, found in zip(doubtful, fresh, strict=True):
                column[i] = found
    for stand, column in columns:
        for mine, found in zip(cells, column, strict=True):
            if found is not None:
                mine.append((stand, found))
    return cells


def _is_missing(found: Found | None) -> bool:
    return found is not None and found.state is State.MISSING


def _columns(
    backend: Backend,
    records: Sequence[HandlerRecord],
    domain: str,
    items: Sequence[Item],
    remembered: int,
) -> list[tuple[Stand, list[Found | None]]]:
    there = stands(backend.log, records, domain)
    return [(stand, list(_column(backend.ledger, stand, items, remembered))) for stand in there]


def _column(
    ledger: Ledger, stand: Stand, items: Sequence[Item], remembered: int
) -> Iterator[Found | None]:
    in_flight = _in_flight(ledger, stand, items)
    rows = ledger.rows(stand.lane, [item.key for item in items])
    refused = _refused(ledger, stand, items, rows, in_flight)
    for item, row in zip(items, rows, strict=True):
        if (dead := refused.get(item.entry)) is not None:
            yield Found(State.DEAD, dead, None, refused=True)
            continue
        pending = in_flight.get(item.entry)
        elsewhere = row is not None and row.entry != item.entry and row.state in IN_FLIGHT
        if row is not None and elsewhere:
            # the same event came twice, and its other entry is the one under way
            pending = ledger.pending(stand.lane, row.entry) or pending
        state = stand.state(item.entry, item.event, row, pending, remembered)
        yield None if state is None else Found(state, row, pending)


def _refused(
    ledger: Ledger,
    stand: Stand,
    items: Sequence[Item],
    rows: Sequence[Row | None],
    in_flight: Mapping[str, Pending],
) -> dict[str, Row]:
    """Entry → its row, of those that were refused. Asks only for those without a row of theirs."""
    asked = [
        item.entry
        for item, row in zip(items, rows, strict=True)
        if (row is None or row.entry != item.entry)
        and item.entry not in in_flight
        and not stand.is_ahead(item.entry)
        and (row is not None or stand.wants(item.event))
    ]
    found = ledger.rows(stand.lane, [refused_field(entry) for entry in asked])
    return {entry: row for entry, row in zip(asked, found, strict=True) if row is not None}


def _in_flight(ledger: Ledger, stand: Stand, items: Sequence[Item]) -> dict[str, Pending]:
    if stand.group is None:
        return {}
    entries = sorted((item.entry for item in items), key=entry_key)
    found: dict[str, Pending] = {}
    first = entries[0]
    while True:
        some = ledger.pending_between(stand.lane, first, entries[-1], PAGE)
        found.update((pending.entry, pending) for pending in some)
        if len(some) < PAGE:
            return found
        first = f"({some[-1].entry}"
