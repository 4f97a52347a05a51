"""What a dispatcher knows of a consumer group whose deliveries it fetches in chunks."""

from __future__ import annotations

import math
from dataclasses import dataclass

from celeriac.dispatcher.pause import BUSY
from celeriac.ledger import Ask, Lane, Taken
from celeriac.ledger.fetch_size import FetchSize
from celeriac.subscription import Handler

# Chunks that one worker holds open of a group, for each of its processes: one runs, one waits.
OPEN_CHUNKS = 2


@dataclass(slots=True)
class GroupState:
    """Times are those of the dispatcher's clock, in seconds.

    `take_at` is when pending deliveries must be looked for, `fetch_at` when new entries must, as
    far as is known. `open_chunks` are those that this worker held at the last answer.
    """

    lane: Lane
    handler: Handler
    size: FetchSize
    open_chunks: int = 0
    take_at: float = -math.inf
    fetch_at: float = -math.inf

    def has_room(self, processes: int) -> bool:
        """Whether another chunk may be opened."""
        return self.open_chunks < OPEN_CHUNKS * processes


def is_plain(handler: Handler) -> bool:
    """Return whether the handler's deliveries need no record before they are processed.

    Order, limits, breakers and time limits are decided delivery by delivery.
    """
    limits = (
        handler.concurrency, handler.per_second, handler.breaker,
        handler.time_limit, handler.soft_time_limit,
    )  # fmt: skip
    return not handler.flow and all(limit is None for limit in limits)


def until_pending(ask: Ask, taken: Taken) -> float:
    """Return the seconds after which pending deliveries are looked for again; infinity where
    nothing is known to be scheduled."""
    if taken.deliveries and taken.queued + len(taken.deliveries) >= ask.limit:
        return BUSY
    if taken.next_due_ms is None:
        return math.inf
    return max(BUSY, (taken.next_due_ms - taken.now_ms) / 1000)
