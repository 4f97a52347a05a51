"""The state of a consumer group in a dispatcher."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

from celeriac.delivery import FetchRequest, FetchResult, Group
from celeriac.delivery.fetch_size import DRAIN, FetchSize
from celeriac.dispatcher.poll_interval import BUSY, until_slots
from celeriac.event_log import Entry
from celeriac.handler import Handler

# Open chunks of a group in one worker, for each of its processes: one runs, one waits.
OPEN_CHUNKS = 2
UNKNOWN = "-"  # a position that no group has
NOW, NEVER = -math.inf, math.inf


class ReadEntry(NamedTuple):
    """The entry with this `number` in a shared reading, and the entry `before` it."""

    number: int
    before: str
    entry: Entry


@dataclass(slots=True)
class InFlight:
    """How many deliveries are queued or running, in all workers and in this one."""

    everywhere: int = 0
    here: int = 0

    def add(self, everywhere: int, here: int) -> None:
        self.everywhere += everywhere
        self.here += here


@dataclass(slots=True)
class HandlerState:
    """The state of a handler over all its groups: its waiting delivery tasks, its deliveries in
    flight, and in how many groups it is slow."""

    id: str
    groups: list[GroupState] = field(default_factory=list)
    waiting_tasks: int = 0
    in_flight: InFlight = field(default_factory=InFlight)
    slow_groups: int = 0

    @property
    def is_slow(self) -> bool:
        return self.slow_groups > 0


@dataclass(slots=True)
class GroupState:
    """Times are those of the dispatcher's clock, in seconds.

    The group is polled at `poll_at`, or in any iteration after `idle_until`. If one of them is set,
    the group is among the `scheduled` groups of its table, sorted by `urgency`, the lowest first.

    `position` is the last known position of the group in the log. If it `is_shared`, the group
    shares the reading of its domain (see domain_reading.py, also for `count`), and `prefetched` are
    the entries that were read for it and are in no chunk yet. `in_force` are the patterns of all
    versions of the handler, `mean_us` is its run time in the domain, 0 if unknown.

    `open_chunks` is the number of this worker's open chunks at the last reply, which also included
    whether the group `has_backlog` for their processes. If no chunk slot was free, that is checked
    again at `full_until`.

    New entries must be fetched at `fetch_at`, and pending deliveries at `pending_at`. `queued` of
    these were queued here at the last reply. `reclaimed_at` is when expired leases were last
    reclaimed. `has_begun`: the last deliveries had been begun before. `is_new_first` alternates
    with each poll. `sent` are the sizes of waiting delivery tasks, `in_flight` counts queued and
    running deliveries. Among groups of slow handlers, the one with the lowest `served` is next.
    """

    group: Group
    handler: Handler
    of: HandlerState
    size: FetchSize
    poll_at: float = NOW
    idle_until: float = NEVER
    scheduled: dict[int, GroupState] = field(default_factory=dict, repr=False, compare=False)
    urgency: int = 0
    position: str = UNKNOWN
    count: int = -1
    is_shared: bool = False
    prefetched: deque[ReadEntry] = field(default_factory=deque)
    in_force: tuple[str, ...] = ()
    mean_us: int = 0
    open_chunks: int = 0
    has_backlog: bool = False
    full_until: float = NOW
    fetch_at: float = NOW
    pending_at: float = NOW
    queued: int = 0
    reclaimed_at: float = NOW
    has_begun: bool = False
    is_new_first: bool = False
    sent: deque[int] = field(default_factory=deque)
    in_flight: InFlight = field(default_factory=InFlight)
    is_slow: bool = False
    served: int = 0

    def read_separately(self) -> None:
        """Fetch separately from now on, after its position."""
        self.is_shared = False
        self.prefetched.clear()

    def until_slots(self, processes: int) -> float:
        """Return the seconds until a chunk slot may be free.

        The task of a chunk runs for DRAIN under a backlog. Without one it may end at any time.
        """
        if not self.has_backlog:
            return BUSY
        chunks_us = self.open_chunks * max(self.mean_us, int(DRAIN * 1e6))
        return until_slots(chunks_us, processes)


def is_plain(handler: Handler) -> bool:
    """Return whether the handler's deliveries need no record before they are processed.

    Order, limits, breakers and time limits require a decision for each delivery.
    """
    limits = (
        handler.concurrency, handler.per_second, handler.breaker,
        handler.time_limit, handler.soft_time_limit,
    )  # fmt: skip
    return not handler.flow_control and all(limit is None for limit in limits)


def until_pending(request: FetchRequest, result: FetchResult) -> float:
    """Return the seconds until pending deliveries are fetched again; infinity if none is known to
    be scheduled."""
    if result.deliveries and result.queued + len(result.deliveries) >= request.limit:
        return BUSY
    if result.next_due_ms is None:
        return math.inf
    return max(BUSY, (result.next_due_ms - result.now_ms) / 1000)
