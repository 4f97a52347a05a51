"""The states of a delivery and the only transitions between them, each one an atomic call.

A delivery is one event for one handler and is in exactly one state at any time. The table below is
the complete state machine. The Lua scripts implement it, the in-memory store interprets it, and
`tests/contract` drives both through random sequences of calls and checks each step against it.
"""

from __future__ import annotations

from enum import StrEnum


class DeliveryState(StrEnum):
    """The state of one event for one handler. The last two are derived, and stored nowhere."""

    WAITING = "waiting"  # after the group's last delivered id
    BLOCKED = "blocked"  # pending; waits for a slot, the rate limit or its ordering key
    QUEUED = "queued"  # pending; a dispatcher sent its delivery task, or is about to
    RUNNING = "running"  # pending; an executor claimed it and renews its lease
    SCHEDULED = "scheduled"  # pending, and in the sorted set of times
    PROCESSED = "processed"  # acknowledged; the matrix has its row
    SKIPPED = "skipped"  # acknowledged; rejected by `when=` of the handler
    COALESCED = "coalesced"  # acknowledged; another event of its key is handled in its place
    IGNORED = "ignored"  # acknowledged or skipped, without a row: not for this handler
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
    # its key may have no free slot
    (DeliveryState.SCHEDULED, "fetch"): frozenset({DeliveryState.QUEUED, DeliveryState.BLOCKED}),
    # the lease expired: its process died, or the delivery task was lost; deliveries that the
    # handler receives in one list wait for their key
    (DeliveryState.QUEUED, "fetch"): frozenset({DeliveryState.QUEUED, DeliveryState.BLOCKED}),
    (DeliveryState.RUNNING, "fetch"): frozenset({DeliveryState.QUEUED, DeliveryState.BLOCKED}),
    # its key has a free slot and this delivery is the next one; or keys are no longer limited
    (DeliveryState.BLOCKED, "fetch"): frozenset({DeliveryState.QUEUED}),
    (DeliveryState.QUEUED, "claim"): frozenset({DeliveryState.RUNNING}),
    # the dispatcher completes what the handler does not want
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
    # as a new log entry if the old one was trimmed
    (DeliveryState.DEAD, "redrive"): frozenset(
        {DeliveryState.SCHEDULED, DeliveryState.BLOCKED, DeliveryState.WAITING}
    ),
}


# The transitions of entries in the interval of an open chunk: see docs/internals/chunks.md. If the
# handler wants no entry of a queued chunk, the dispatcher completes the chunk.
CHUNK_MOVES: dict[tuple[DeliveryState, str], frozenset[DeliveryState]] = {
    (DeliveryState.WAITING, "fetch_chunk"): frozenset(
        {DeliveryState.QUEUED, DeliveryState.RUNNING}
    ),
    # read once for many handlers; this handler may not want all of the entries
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
    """The outcome of a delivery, as reported to `complete`."""

    PROCESSED = "processed"
    SKIPPED = "skipped"
    COALESCED = "coalesced"  # another event of its key is handled in its place
    IGNORED = "ignored"
    RETRY = "retry"
    REQUEUED = "requeued"
    DEAD = "dead"
    REFUSED = "refused"  # dead before the handler ran: the event's key is not claimed


class ClaimResult(StrEnum):
    """What `claim` decided about a delivery."""

    RUN = "run"
    DUPLICATE = "duplicate"  # another entry of the event is finished, or will run again
    CONCURRENT = "concurrent"  # another entry of the event is running, and may be refused
    EXHAUSTED = "exhausted"
