"""The last failure of the deliveries that failed, for lists of events."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import msgspec

from celeriac.delivery import DeliveryState, Group, History, refused_field
from celeriac.store.factory import Backend
from celeriac.tracking.cell import Cell, EventStatus

FAILED = frozenset({DeliveryState.DEAD, DeliveryState.SCHEDULED})


def with_errors(backend: Backend, events: Sequence[EventStatus]) -> list[EventStatus]:
    """Return the same events with `error` and `worker` in each cell that is dead or will be
    retried.

    Reads once for each handler with such a cell, however many events there are.
    """
    asked: dict[Group, list[EventStatus]] = defaultdict(list)
    for event in events:
        for cell in event.cells:
            if _has_failed(cell):
                asked[Group(event.domain, cell.handler)].append(event)
    found: dict[tuple[str, str, str], History] = {}
    for group, several in asked.items():
        # An entry that was refused has a history of its own, beside that of its event's key.
        fields = [field for event in several for field in _fields(event)]
        histories = backend.deliveries.histories(group, fields)
        for n, event in enumerate(several):
            own, of_key = histories[2 * n : 2 * n + 2]
            history = own if own.failures else of_key
            found[group.domain, event.entry or "", group.handler] = history
    return [_with_errors(event, found) for event in events] if found else list(events)


def with_last_failure(cell: Cell, history: History) -> Cell:
    """Return the cell with the error of the last failure in its history, and the worker of its last
    attempt if that failed."""
    if not history.failures:
        return cell
    last, life = history.failures[-1], max((one.life for one in history.restarts), default=1)
    failed = cell.state in FAILED and (last.life, last.attempt) == (life, cell.attempts)
    worker = (last.worker or None) if failed else cell.worker
    return msgspec.structs.replace(cell, error=last.error, worker=worker)


def _has_failed(cell: Cell) -> bool:
    return cell.state in FAILED and cell.attempts > 0


def _fields(event: EventStatus) -> tuple[str, str]:
    return refused_field(event.entry or ""), event.key


def _with_errors(event: EventStatus, found: Mapping[tuple[str, str, str], History]) -> EventStatus:
    cells = []
    for cell in event.cells:
        history = found.get((event.domain, event.entry or "", cell.handler))
        is_own = history is not None and _has_failed(cell)
        cells.append(with_last_failure(cell, history) if is_own and history else cell)
    return msgspec.structs.replace(event, cells=tuple(cells))
