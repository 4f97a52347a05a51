"""Count the matrix, page by page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from celeriac.delivery import DeliveryState
from celeriac.errors import InvalidEvent
from celeriac.event import read_header
from celeriac.event_log import Entry
from celeriac.registry import HandlerRecord
from celeriac.store.factory import Backend
from celeriac.tracking.cell import Totals
from celeriac.tracking.page import PAGE, PageItem, page_cells
from celeriac.tracking.state import IN_FLIGHT


class MatrixCount:
    """A count in progress. `read` entries of about `total` were counted."""

    def __init__(self, backend: Backend, records: Sequence[HandlerRecord]) -> None:
        self.backend, self.records = backend, records
        self.read = self.total = 0
        self._events: Counter[str] = Counter()
        self._states: Counter[DeliveryState] = Counter()

    def domain(self, domain: str) -> Iterator[None]:
        """Count one domain as it is now; yield after each page."""
        event_log = self.backend.event_log
        self._events["delayed"] += event_log.delayed(domain)
        newest = event_log.read(domain, count=1, newest_first=True)
        start = "-"
        while newest and (
            some := event_log.read(domain, start=start, end=newest[0].id, count=PAGE)
        ):
            self._page(domain, some)
            yield
            start = f"({some[-1].id}"

    def _page(self, domain: str, entries: Sequence[Entry]) -> None:
        self.read += len(entries)
        items = []
        for entry in entries:
            try:
                items.append(
                    PageItem.of(entry.id, read_header(entry.body or b"", domain), entry.kind)
                )
            except InvalidEvent:
                self._events["invalid"] += 1
        rows = page_cells(self.backend, self.records, domain, items)
        for item, cells in zip(items, rows, strict=True):
            stored = [cell for _, cell in cells if cell.is_about(item.entry)]
            if cells and not stored:
                # every handler has a record of the event with another entry
                self._events["repeated"] += 1
                continue
            self._events["emitted"] += 1
            self._states.update(cell.state for cell in stored)
            self._events["retried"] += sum(cell.attempts > 1 for cell in stored)

    def totals(self) -> Totals:
        states, events = self._states, self._events
        return Totals(
            emitted=events["emitted"],
            repeated=events["repeated"],
            delayed=events["delayed"],
            invalid=events["invalid"],
            expected=states.total(),
            waiting=states[DeliveryState.WAITING],
            in_flight=sum(states[state] for state in IN_FLIGHT),
            processed=states[DeliveryState.PROCESSED],
            skipped=states[DeliveryState.SKIPPED],
            coalesced=states[DeliveryState.COALESCED],
            dead=states[DeliveryState.DEAD],
            missing=states[DeliveryState.MISSING],
            forgotten=states[DeliveryState.FORGOTTEN],
            retried=events["retried"],
        )
