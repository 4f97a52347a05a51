"""The life of a delivery: its places, and the only moves between them, each one atomic call.

A delivery is one event for one handler. At any moment it is in exactly one place. The table below
is the whole machine: the Lua scripts carry it out, the in-memory ledger interprets it, and
`tests/contract` drives both through random lives and checks each step against it.
"""

from __future__ import annotations

from enum import StrEnum


class DeliveryState(StrEnum):
    """The state of one event for one handler. The last two are derived, and stored nowhere."""

    WAITING = "waiting"  # after the group's last delivered id
    BLOCKED = "blocked"  # pending; waits for a slot, the rate or the turn of its ordering key
    QUEUED = "queued"  # pending; a dispatcher sent its delivery task, or is about to
    RUNNING = "running"  # pending; an executor claimed it and renews its lease
    SCHEDULED = "scheduled"  # pending, and in the sorted set of times
    PROCESSED = "processed"  # acknowledged; the matrix has its row
    SKIPPED = "skipped"  # acknowledged; rejected by `when=` of the handler
    COALESCED = "coalesced"  # acknowledged; another event of its key is handled in its place
    IGNORED = "ignored"  # acknowledged or passed, without a row: not for this handler
    DEAD = "dead"  # acknowledged; stored as a dead letter
    MISSING = "missing"  # the handler should have received it, and there is no record of that
    FORGOTTEN = "forgotten"  # older than the records that are kept


IN_FLIGHT = frozenset(
    {DeliveryState.BLOCKED, DeliveryState.QUEUED, DeliveryState.RUNNING, DeliveryState.SCHEDULED}
)
FINISHED = frozenset(
    {
        DeliveryState.PROCESSED,
        DeliveryState.SKIPPED,
        DeliveryState.COALESCED,
        DeliveryState.IGNORED,
        DeliveryState.DEAD,
    }
)

MOVES: dict[tuple[DeliveryState, str], frozenset[DeliveryState]] = {
    (DeliveryState.WAITING, "fetch"): frozenset({DeliveryState.QUEUED, DeliveryState.BLOCKED}),
    # its key may have no further one
    (DeliveryState.SCHEDULED, "fetch"): frozenset({DeliveryState.QUEUED, DeliveryState.BLOCKED}),
    # the lease is over: its process died, or the hint was lost; what was given in one list waits
    # for its key
    (DeliveryState.QUEUED, "fetch"): frozenset({DeliveryState.QUEUED, DeliveryState.BLOCKED}),
    (DeliveryState.RUNNING, "fetch"): frozenset({DeliveryState.QUEUED, DeliveryState.BLOCKED}),
    # its key may have another one, and it is its turn; or the handler limits no keys any more
    (DeliveryState.BLOCKED, "fetch"): frozenset({DeliveryState.QUEUED}),
    (DeliveryState.QUEUED, "claim"): frozenset({DeliveryState.RUNNING}),
    # the dispatcher settles in passing what the handler does not want
    (DeliveryState.QUEUED, "complete"): frozenset(
        {
            DeliveryState.SKIPPED,
            DeliveryState.COALESCED,
            DeliveryState.IGNORED,
            DeliveryState.DEAD,
            DeliveryState.SCHEDULED,
        }
    ),
    (DeliveryState.QUEUED, "requeue"): frozenset({DeliveryState.SCHEDULED}),
    (DeliveryState.RUNNING, "renew"): frozenset({DeliveryState.RUNNING}),
    (DeliveryState.RUNNING, "complete"): frozenset(
        {
            DeliveryState.PROCESSED,
            DeliveryState.SKIPPED,
            DeliveryState.IGNORED,
            DeliveryState.SCHEDULED,
            DeliveryState.DEAD,
        }
    ),
    (DeliveryState.PROCESSED, "schedule"): frozenset(
        {DeliveryState.SCHEDULED, DeliveryState.BLOCKED}
    ),
    (DeliveryState.SKIPPED, "schedule"): frozenset(
        {DeliveryState.SCHEDULED, DeliveryState.BLOCKED}
    ),
    (DeliveryState.COALESCED, "schedule"): frozenset(
        {DeliveryState.SCHEDULED, DeliveryState.BLOCKED}
    ),
    (DeliveryState.IGNORED, "schedule"): frozenset(
        {DeliveryState.SCHEDULED, DeliveryState.BLOCKED}
    ),
    (DeliveryState.DEAD, "schedule"): frozenset({DeliveryState.SCHEDULED, DeliveryState.BLOCKED}),
    # by way of a new log entry where the old one was trimmed
    (DeliveryState.DEAD, "redrive"): frozenset(
        {DeliveryState.SCHEDULED, DeliveryState.BLOCKED, DeliveryState.WAITING}
    ),
}


# The moves of entries in the interval of an open chunk: see docs/internals/chunks.md. A dispatcher
# completes a queued chunk of which its handler wants nothing.
CHUNK_MOVES: dict[tuple[DeliveryState, str], frozenset[DeliveryState]] = {
    (DeliveryState.WAITING, "fetch_chunk"): frozenset(
        {DeliveryState.QUEUED, DeliveryState.RUNNING}
    ),
    # read once for many handlers; some of it this one does not want
    (DeliveryState.WAITING, "advance"): frozenset({DeliveryState.QUEUED, DeliveryState.IGNORED}),
    (DeliveryState.QUEUED, "begin_chunk"): frozenset({DeliveryState.RUNNING}),
    **dict.fromkeys(
        [(DeliveryState.QUEUED, "complete_chunk"), (DeliveryState.RUNNING, "complete_chunk")],
        frozenset(
            {
                DeliveryState.PROCESSED,
                DeliveryState.SKIPPED,
                DeliveryState.IGNORED,
                DeliveryState.SCHEDULED,
                DeliveryState.DEAD,
            }
        ),
    ),
    **dict.fromkeys(
        [(DeliveryState.QUEUED, "progress_chunk"), (DeliveryState.RUNNING, "progress_chunk")],
        frozenset({DeliveryState.PROCESSED, DeliveryState.IGNORED}),
    ),
    (DeliveryState.QUEUED, "requeue_chunk"): frozenset({DeliveryState.SCHEDULED}),
    (DeliveryState.RUNNING, "requeue_chunk"): frozenset({DeliveryState.SCHEDULED}),
}


class Outcome(StrEnum):
    """What became of a delivery, as told to `finish`."""

    PROCESSED = "processed"
    SKIPPED = "skipped"
    COALESCED = "coalesced"  # another event of its key is handled in its place
    IGNORED = "ignored"
    RETRY = "retry"
    REQUEUED = "requeued"
    DEAD = "dead"
    REFUSED = "refused"  # dead before the handler ran: no claim on the event's key


class Verdict(StrEnum):
    """What `claim` says of a delivery."""

    RUN = "run"
    DUPLICATE = "duplicate"  # another entry of the event is settled, or will run again
    CONCURRENT = "concurrent"  # another entry of the event is running, and may be refused
    EXHAUSTED = "exhausted"
