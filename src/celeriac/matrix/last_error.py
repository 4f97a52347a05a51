"""The last error of the deliveries that failed, for lists of events."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import msgspec

from celeriac.ledger import Lane, refused_field
from celeriac.matrix.cell import Cell, EventStatus
from celeriac.matrix.state import State
from celeriac.subscription import Backend

FAILED = frozenset({State.DEAD, State.SCHEDULED})


def with_errors(backend: Backend, events: Sequence[EventStatus]) -> list[EventStatus]:
    """Return the same events with `error` in each cell that is dead or will be retried.

    Reads once for each handler with such a cell, however many events there are.
    """
    asked: dict[Lane, list[EventStatus]] = defaultdict(list)
    for event in events:
        for cell in event.cells:
            if _has_failed(cell):
                asked[Lane(event.domain, cell.handler)].append(event)
    errors: dict[tuple[str, str, str], str] = {}
    for lane, several in asked.items():
        # An entry that was refused has a history of its own, beside that of its event's key.
        fields = [field for event in several for field in _fields(event)]
        histories = backend.ledger.histories(lane, fields)
        for n, event in enumerate(several):
            found = histories[2 * n].failures or histories[2 * n + 1].failures
            if found:
                errors[lane.domain, event.entry or "", lane.handler] = found[-1].error
    return [_with_errors(event, errors) for event in events] if errors else list(events)


def _has_failed(cell: Cell) -> bool:
    return cell.state in FAILED and cell.attempts > 0


def _fields(event: EventStatus) -> tuple[str, str]:
    return refused_field(event.entry or ""), event.key


def _with_errors(event: EventStatus, errors: dict[tuple[str, str, str], str]) -> EventStatus:
    cells = tuple(
        msgspec.structs.replace(
            cell, error=errors.get((event.domain, event.entry or "", cell.handler))
        )
        for cell in event.cells
    )
    return msgspec.structs.replace(event, cells=cells)
