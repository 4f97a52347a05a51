"""The life of a delivery: its places, and the only moves between them, each one atomic call.

A delivery is one event for one handler. At any moment it is in exactly one place. The table below
is the whole machine: the Lua scripts carry it out, the in-memory ledger interprets it, and
`tests/contract` drives both through random lives and checks each step against it.
"""

from __future__ import annotations

from enum import StrEnum


class Place(StrEnum):
    WAITING = "waiting"  # ahead of the group's last delivered id
    PARKED = "parked"  # pending; waits for a slot, the rate or the turn of its key
    QUEUED = "queued"  # pending; a worker's dispatcher sent a hint, or is about to
    RUNNING = "running"  # pending; an executor claimed it and keeps its lease alive
    DUE = "due"  # pending, and in the sorted set of times
    PROCESSED = "processed"  # acknowledged; the matrix has its row
    SKIPPED = "skipped"  # acknowledged; the handler's `when=` did not want it
    COALESCED = "coalesced"  # acknowledged; another event of its key is handled in its place
    IGNORED = "ignored"  # acknowledged or moved past, without a row: not meant for this handler
    DEAD = "dead"  # acknowledged; lies in the dead letters


IN_FLIGHT = frozenset({Place.PARKED, Place.QUEUED, Place.RUNNING, Place.DUE})
SETTLED = frozenset({Place.PROCESSED, Place.SKIPPED, Place.COALESCED, Place.IGNORED, Place.DEAD})

MOVES: dict[tuple[Place, str], frozenset[Place]] = {
    (Place.WAITING, "take"): frozenset({Place.QUEUED, Place.PARKED}),
    # its key may have no further one
    (Place.DUE, "take"): frozenset({Place.QUEUED, Place.PARKED}),
    # the lease is over: its process died, or the hint was lost; what was given in one list waits
    # for its key
    (Place.QUEUED, "take"): frozenset({Place.QUEUED, Place.PARKED}),
    (Place.RUNNING, "take"): frozenset({Place.QUEUED, Place.PARKED}),
    # its key may have another one, and it is its turn; or the handler limits no keys any more
    (Place.PARKED, "take"): frozenset({Place.QUEUED}),
    (Place.QUEUED, "claim"): frozenset({Place.RUNNING}),
    # the dispatcher settles in passing what the handler does not want
    (Place.QUEUED, "finish"): frozenset(
        {Place.SKIPPED, Place.COALESCED, Place.IGNORED, Place.DEAD, Place.DUE}
    ),
    (Place.QUEUED, "hand_back"): frozenset({Place.DUE}),
    (Place.RUNNING, "renew"): frozenset({Place.RUNNING}),
    (Place.RUNNING, "finish"): frozenset(
        {Place.PROCESSED, Place.SKIPPED, Place.IGNORED, Place.DUE, Place.DEAD}
    ),
    (Place.PROCESSED, "schedule"): frozenset({Place.DUE, Place.PARKED}),
    (Place.SKIPPED, "schedule"): frozenset({Place.DUE, Place.PARKED}),
    (Place.COALESCED, "schedule"): frozenset({Place.DUE, Place.PARKED}),
    (Place.IGNORED, "schedule"): frozenset({Place.DUE, Place.PARKED}),
    (Place.DEAD, "schedule"): frozenset({Place.DUE, Place.PARKED}),
    # by way of a new log entry where the old one was trimmed
    (Place.DEAD, "redrive"): frozenset({Place.DUE, Place.PARKED, Place.WAITING}),
}


# The moves of entries in the interval of an open chunk: see docs/internals/chunks.md. A dispatcher
# completes a queued chunk of which its handler wants nothing.
CHUNK_MOVES: dict[tuple[Place, str], frozenset[Place]] = {
    (Place.WAITING, "fetch"): frozenset({Place.QUEUED, Place.RUNNING}),
    # read once for many handlers; some of it this one does not want
    (Place.WAITING, "advance"): frozenset({Place.QUEUED, Place.IGNORED}),
    (Place.QUEUED, "begin"): frozenset({Place.RUNNING}),
    **dict.fromkeys(
        [(Place.QUEUED, "complete"), (Place.RUNNING, "complete")],
        frozenset({Place.PROCESSED, Place.SKIPPED, Place.IGNORED, Place.DUE, Place.DEAD}),
    ),
    (Place.QUEUED, "requeue"): frozenset({Place.DUE}),
    (Place.RUNNING, "requeue"): frozenset({Place.DUE}),
}


class Outcome(StrEnum):
    """What became of a delivery, as told to `finish`."""

    PROCESSED = "processed"
    SKIPPED = "skipped"
    COALESCED = "coalesced"  # another event of its key is handled in its place
    IGNORED = "ignored"
    RETRY = "retry"
    RELEASED = "released"
    DEAD = "dead"
    REFUSED = "refused"  # dead before the handler ran: no claim on the event's key


class Verdict(StrEnum):
    """What `claim` says of a delivery."""

    RUN = "run"
    DUPLICATE = "duplicate"  # another entry of the event is settled, or will run again
    CONCURRENT = "concurrent"  # another entry of the event is running, and may be refused
    EXHAUSTED = "exhausted"
