"""The states of a delivery, in the words that people see: CLI, Flower, JSON, metrics and docs."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from celeriac.delivery import Place


class State(StrEnum):
    """Where the delivery of an event to a handler is: a `Place`, or what is known instead."""

    WAITING = "waiting"
    QUEUED = "queued"
    RUNNING = "running"
    SCHEDULED = "scheduled"
    BLOCKED = "blocked"
    PROCESSED = "processed"
    SKIPPED = "skipped"
    COALESCED = "coalesced"
    IGNORED = "ignored"
    DEAD = "dead"
    MISSING = "missing"  # it should have had the event, and there is no trace of that
    FORGOTTEN = "forgotten"  # older than what the ledger remembers


MEANINGS: Mapping[State, str] = MappingProxyType(
    {
        State.WAITING: "in the log, not fetched for the handler yet",
        State.QUEUED: "handed to a worker",
        State.RUNNING: "the handler runs",
        State.SCHEDULED: "runs at a later time: a retry, or requeued",
        State.BLOCKED: "waits for a slot, the rate, the turn or the quiet of its key",
        State.PROCESSED: "the handler succeeded",
        State.SKIPPED: "rejected by when=, or outside the share=",
        State.COALESCED: "another event of its key was handled in its place",
        State.IGNORED: "not for this handler",
        State.DEAD: "in the dead letters: all attempts failed",
        State.MISSING: "the handler should have had it, and there is no record of it",
        State.FORGOTTEN: "older than the records (CELERIAC_DEDUP_WINDOW)",
    }
)

# The store's words, where they are others.
_STORED: Mapping[str, State] = {Place.DUE: State.SCHEDULED, Place.PARKED: State.BLOCKED}


def state_of(owner: str) -> State:
    """Return the state for a place of the store, or for the owner of a pending entry, `due` or
    `queued:WORKER`."""
    place = owner.partition(":")[0]
    return _STORED.get(place) or State(place)


UNFINISHED = frozenset({State.WAITING, State.QUEUED, State.RUNNING, State.SCHEDULED, State.BLOCKED})
IN_FLIGHT = UNFINISHED - {State.WAITING}
