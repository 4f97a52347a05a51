"""Derive the state of a delivery from its stored records."""

from __future__ import annotations

from dataclasses import dataclass

from celeriac.delivery import FINISHED, DeliveryState, Pending, Row
from celeriac.delivery.run_record import Run, RunOutcome
from celeriac.event_log.open_chunk import OpenChunk
from celeriac.tracking.state import state_of

_RAN = {RunOutcome.PROCESSED: DeliveryState.PROCESSED, RunOutcome.IGNORED: DeliveryState.IGNORED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The stored records of one delivery.

    `ahead`: the group's position is before the entry. `chunk` is the open chunk that has the entry,
    `pending` the delivery in the pending list, `row` its row, `run` its part of a run record.

    Position, open chunks, pending list, rows and run records must be read in this order. A delivery
    that moves in between then appears in its old or its new state, never in neither.

    `wanted`: the handler's patterns match the event, and the event is addressed to the handler.
    `subscribed`: the handler was subscribed when the entry was appended. `remembered`: a row of
    this entry has not expired. `trimmed`: the entry was removed from the log, which happens only to
    finished entries. `repeats`: the entry repeats the event of an earlier one.
    """

    ahead: bool = False
    chunk: OpenChunk | None = None
    pending: Pending | None = None
    row: Row | None = None
    run: Run | None = None
    wanted: bool = True
    subscribed: bool = True
    remembered: bool = True
    trimmed: bool = False
    repeats: bool = False


def delivery_state(evidence: Evidence) -> DeliveryState | None:
    """Return the state of the delivery; None if the handler is not expected to get the event.

    An unwanted delivery without a row is IGNORED once the group's position is past it.
    """
    row = evidence.row
    if row is not None and row.state in FINISHED:
        return state_of(row.state)
    if row is None and not evidence.wanted:
        return DeliveryState.IGNORED if _is_passed(evidence) else None
    if evidence.pending is not None:
        # A later life if there is a run record, too: the delivery was replayed.
        return state_of(evidence.pending.owner)
    if evidence.run is not None and evidence.run.outcome in _RAN:
        return _RAN[evidence.run.outcome]
    if evidence.chunk is not None:
        return state_of(evidence.chunk.owner)
    if evidence.ahead:
        return DeliveryState.WAITING if row is None else state_of(row.state)
    return _state_without_record(evidence)


def _is_passed(evidence: Evidence) -> bool:
    is_open = evidence.ahead or evidence.chunk is not None or evidence.pending is not None
    return evidence.subscribed and not is_open


def _state_without_record(evidence: Evidence) -> DeliveryState | None:
    """Return the state of a delivery that the group's position has passed."""
    if evidence.row is None and evidence.repeats:
        return DeliveryState.IGNORED
    if evidence.row is None and not evidence.subscribed:
        return None
    if not evidence.remembered:
        return DeliveryState.FORGOTTEN
    # The run record was trimmed with the entry.
    done = evidence.trimmed and evidence.row is None
    return DeliveryState.PROCESSED if done else DeliveryState.MISSING
