"""Which tick is due, and which one comes next. Pure."""

from __future__ import annotations

from typing import NamedTuple

from celeriac.schedule.schedule import Missed
from celeriac.schedule.ticks import Ticks

# With `missed="none"`, a tick that is later than this is not emitted.
MAX_LATE_MS = 60_000


# Dropped ticks are counted up to this number at a time: a cron expression is asked for each.
MAX_COUNTED = 1_000


class Due(NamedTuple):
    """The tick to emit, None if none is, and the tick that comes next then.

    `dropped` is the number of missed ticks that are not emitted, at most MAX_COUNTED.
    """

    tick_ms: int | None
    next_ms: int
    dropped: int = 0


def due_tick(ticks: Ticks, missed: Missed, next_ms: int, now_ms: int) -> Due | None:
    """Return what to do at `now_ms`, where `next_ms` is the first tick that was not emitted.

    None if it has not come. With `all`, the ticks are due one by one.
    """
    if next_ms > now_ms:
        return None
    if missed == "all":
        return Due(next_ms, ticks.next_after(next_ms))
    # Never before the expected one: the definition may have changed.
    last_ms = max(next_ms, ticks.last_until(now_ms))
    is_dropped = missed == "none" and now_ms - last_ms > MAX_LATE_MS
    dropped = _ticks_before(ticks, next_ms, last_ms) + is_dropped
    return Due(None if is_dropped else last_ms, ticks.next_after(now_ms), dropped)


def _ticks_before(ticks: Ticks, first_ms: int, end_ms: int) -> int:
    number = 0
    while first_ms < end_ms and number < MAX_COUNTED:
        first_ms, number = ticks.next_after(first_ms), number + 1
    return number
