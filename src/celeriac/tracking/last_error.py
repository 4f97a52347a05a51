"""Add the last failure to failed deliveries in lists of events."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import msgspec

from celeriac.delivery import DeliveryState, Group, History, refused_field
from celeriac.store.factory import Backend
from celeriac.tracking.cell import Cell, EventStatus

FAILED = frozenset({DeliveryState.DEAD, DeliveryState.SCHEDULED})


def with_errors(backend: Backend, events: Sequence[EventStatus]) -> list[EventStatus]:
    """Return the events with `error` and `worker` in each dead or scheduled cell.

    Reads once per handler with such a cell, independent of the number of events.
    """
    failed: dict[Group, list[EventStatus]] = defaultdict(list)
    for event in events:
        for cell in event.cells:
            if _has_failed(cell):
                failed[Group(event.domain, cell.handler)].append(event)
    by_cell: dict[tuple[str, str, str], History] = {}
    for group, failed_events in failed.items():
        # A refused entry has a separate history, in addition to that of its event's key.
        fields = [field for event in failed_events for field in _fields(event)]
        histories = backend.deliveries.histories(group, fields)
        for n, event in enumerate(failed_events):
            refused, of_key = histories[2 * n : 2 * n + 2]
            history = refused if refused.failures else of_key
            by_cell[group.domain, event.entry or "", group.handler] = history
    return [_with_errors(event, by_cell) for event in events] if by_cell else list(events)


def with_last_failure(cell: Cell, history: History) -> Cell:
    """Return the cell with the last failure's error, and the worker of a failed last attempt."""
    if not history.failures:
        return cell
    last, life = (
        history.failures[-1],
        max((restart.life for restart in history.restarts), default=1),
    )
    failed = cell.state in FAILED and (last.life, last.attempt) == (life, cell.attempts)
    worker = (last.worker or None) if failed else cell.worker
    return msgspec.structs.replace(cell, error=last.error, worker=worker)


def _has_failed(cell: Cell) -> bool:
    return cell.state in FAILED and cell.attempts > 0


def _fields(event: EventStatus) -> tuple[str, str]:
    return refused_field(event.entry or ""), event.key


def _with_errors(
    event: EventStatus, histories: Mapping[tuple[str, str, str], History]
) -> EventStatus:
    cells = []
    for cell in event.cells:
        history = histories.get((event.domain, event.entry or "", cell.handler))
        is_own = history is not None and _has_failed(cell)
        cells.append(with_last_failure(cell, history) if is_own and history else cell)
    return msgspec.structs.replace(event, cells=tuple(cells))
