"""What a dispatcher knows of a consumer group."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

from celeriac.delivery import FetchRequest, FetchResult, Group
from celeriac.delivery.fetch_size import DRAIN, FetchSize
from celeriac.dispatcher.pause import BUSY, until_room
from celeriac.event_log import Entry
from celeriac.handler import Handler

# Chunks that one worker holds open of a group, for each of its processes: one runs, one waits.
OPEN_CHUNKS = 2
UNKNOWN = "-"  # a position that no group has
NOW, NEVER = -math.inf, math.inf


class ReadEntry(NamedTuple):
    """The entry with that `number` of all that were read for several groups, and the one `before`
    it."""

    number: int
    before: str
    entry: Entry


@dataclass(slots=True)
class Held:
    """How many deliveries are queued or running: in all workers, and in this one."""

    everywhere: int = 0
    here: int = 0

    def add(self, everywhere: int, here: int) -> None:
        self.everywhere += everywhere
        self.here += here


@dataclass(slots=True)
class HandlerState:
    """What a dispatcher knows of a handler over all its groups: the delivery tasks that wait, what
    is held, and in how many groups it is slow."""

    id: str
    groups: list[GroupState] = field(default_factory=list)
    waiting_tasks: int = 0
    held: Held = field(default_factory=Held)
    slow_groups: int = 0

    @property
    def is_slow(self) -> bool:
        return self.slow_groups > 0


@dataclass(slots=True)
class GroupState:
    """Times are those of the dispatcher's clock, in seconds.

    It is looked at `look_at`, or in some turn after `rests_until`. Where one of both is set, it is
    among the `scheduled` groups of its table; of these, those with the lowest `urgency` come first.
    `position` is the last entry that the group was given, as far as is known. It `is_together` with
    others of the domain: see domain_reading.py, also for its `count`; `read_ahead` is what was read
    for it then and is in no chunk yet. `in_force` are the patterns of all versions of the handler,
    `mean_us` is its run time in the domain, 0 if unknown. `open_chunks` are those that this worker
    held at the last answer, which also said whether it `has_backlog` that their processes go on
    with; where it had no room for another one, that is looked at again at `full_until`.

    `fetch_at` is when new entries must be looked for, as far as is known, `take_at` when pending
    deliveries must; `queued` of these were queued here at the last answer. `swept_at` is when
    expired leases were last looked for, `has_begun` says that the last deliveries had been begun
    before, and `is_new_first` is toggled with each look. `sent` are the sizes of delivery tasks
    that wait, `held` is what is queued or running. Of groups that slow handlers take turns with,
    the one with the lowest `served` was served longest ago.
    """

    group: Group
    handler: Handler
    of: HandlerState
    size: FetchSize
    look_at: float = NOW
    rests_until: float = NEVER
    scheduled: dict[int, GroupState] = field(default_factory=dict, repr=False, compare=False)
    urgency: int = 0
    position: str = UNKNOWN
    count: int = -1
    is_together: bool = False
    read_ahead: deque[ReadEntry] = field(default_factory=deque)
    in_force: tuple[str, ...] = ()
    mean_us: int = 0
    open_chunks: int = 0
    has_backlog: bool = False
    full_until: float = NOW
    fetch_at: float = NOW
    take_at: float = NOW
    queued: int = 0
    swept_at: float = NOW
    has_begun: bool = False
    is_new_first: bool = False
    sent: deque[int] = field(default_factory=deque)
    held: Held = field(default_factory=Held)
    is_slow: bool = False
    served: int = 0

    def stand_apart(self) -> None:
        """Fetch for itself from now on, after its position."""
        self.is_together = False
        self.read_ahead.clear()

    def until_room(self, processes: int) -> float:
        """Return the seconds after which to look for room again.

        The task of a chunk goes on with a backlog for DRAIN. Without one it may end at any time.
        """
        if not self.has_backlog:
            return BUSY
        held_us = self.open_chunks * max(self.mean_us, int(DRAIN * 1e6))
        return until_room(held_us, processes)


def is_plain(handler: Handler) -> bool:
    """Return whether the handler's deliveries need no record before they are processed.

    Order, limits, breakers and time limits are decided delivery by delivery.
    """
    limits = (
        handler.concurrency, handler.per_second, handler.breaker,
        handler.time_limit, handler.soft_time_limit,
    )  # fmt: skip
    return not handler.flow and all(limit is None for limit in limits)


def until_pending(ask: FetchRequest, taken: FetchResult) -> float:
    """Return the seconds after which pending deliveries are looked for again; infinity where
    nothing is known to be scheduled."""
    if taken.deliveries and taken.queued + len(taken.deliveries) >= ask.limit:
        return BUSY
    if taken.next_due_ms is None:
        return math.inf
    return max(BUSY, (taken.next_due_ms - taken.now_ms) / 1000)
