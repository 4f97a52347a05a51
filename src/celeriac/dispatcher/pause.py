"""How long a dispatcher waits before it asks for a handler again. Pure; all times in seconds."""

from __future__ import annotations

from celeriac.delivery import FetchRequest, FetchResult

IDLE = 0.5  # longest wait at the doorbell: due times and new domains are looked for this often
BUSY = 0.01  # pause while this worker holds all that it may


def until_room(held_us: int, processes: int) -> float:
    """Till about a quarter of what this worker holds is done."""
    return min(IDLE, max(BUSY, held_us / 1e6 / processes / 4))


def until_share(mean_us: int) -> float:
    """Soon after a process of a slow handler may be free again."""
    return min(0.1, max(BUSY, mean_us / 1e6 / 50))


def until(due_ms: int, now_ms: int) -> float:
    """Till something is due."""
    return min(IDLE, max(BUSY, (due_ms - now_ms) / 1000))


def until_asked(
    ask: FetchRequest,
    taken: FetchResult,
    wanted: int,
    enough: bool,
    processes: int,
    longest: float,
    *,
    new: bool = True,
) -> float | None:
    """Till the lane is asked for again, if nobody rings before; None where nothing is known to
    come.

    `wanted` is how many of those taken the handler wants, `enough` says whether it has as many
    hints as it may, `new` whether it is also asked for what is new.
    """
    given = len(taken.deliveries)
    if ask.max_in_flight is not None and taken.in_flight + given >= ask.max_in_flight:
        # What is due stays so: it must not wake this dispatcher again and again. Where what was
        # given was not wanted, there is room to look further.
        return until_share(taken.mean_us) if taken.in_flight + wanted >= ask.max_in_flight else 0.0
    if ask.limit == 0:
        return until_room(taken.queued * taken.mean_us, processes) if enough else 0.0
    if taken.queued + wanted >= ask.limit:
        return until_room(ask.limit * taken.mean_us, processes)
    if (new and given >= ask.max_new) or taken.queued + given >= ask.limit:
        return 0.0
    if taken.next_due_ms is None:
        return None
    return max(BUSY, min(longest, (taken.next_due_ms - taken.now_ms) / 1000))
