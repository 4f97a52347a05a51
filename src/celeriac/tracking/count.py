"""Counting the whole matrix, page by page."""

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
from celeriac.tracking.page import PAGE, Item, page_cells
from celeriac.tracking.state import IN_FLIGHT


class Count:
    """One count under way. `read` entries of about `total` were looked at."""

    def __init__(self, backend: Backend, records: Sequence[HandlerRecord]) -> None:
        self.backend, self.records = backend, records
        self.read = self.total = 0
        self._events: Counter[str] = Counter()
        self._states: Counter[DeliveryState] = Counter()

    def domain(self, domain: str) -> Iterator[None]:
        """Counts one domain as it is now; yields after each page."""
        event_log = self.backend.event_log
        self._events["postponed"] += event_log.postponed(domain)
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
                items.append(Item.of(entry.id, read_header(entry.body or b"", domain), entry.kind))
            except InvalidEvent:
                self._events["invalid"] += 1
        rows = page_cells(self.backend, self.records, domain, items)
        for item, cells in zip(items, rows, strict=True):
            own = [found for _, found in cells if found.is_about(item.entry)]
            if cells and not own:
                # every handler knows the event by another entry
                self._events["repeated"] += 1
                continue
            self._events["emitted"] += 1
            self._states.update(found.state for found in own)
            self._events["retried"] += sum(found.attempts > 1 for found in own)

    def totals(self) -> Totals:
        states, events = self._states, self._events
        return Totals(
            emitted=events["emitted"],
            repeated=events["repeated"],
            postponed=events["postponed"],
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
