"""How long a dispatcher waits before it polls a group again. Pure; all times in seconds."""

from __future__ import annotations

from celeriac.delivery import FetchRequest, FetchResult

IDLE = 0.5  # longest wait for a wakeup: scheduled deliveries and new domains are polled this often
BUSY = 0.01  # interval while this worker has all that it may queue


def until_slots(queued_us: int, processes: int) -> float:
    """Return the time until about a quarter of this worker's queued deliveries have run."""
    return min(IDLE, max(BUSY, queued_us / 1e6 / processes / 4))


def until_share(mean_us: int) -> float:
    """Return the time until a process of a slow handler may be free again."""
    return min(0.1, max(BUSY, mean_us / 1e6 / 50))


def until(due_ms: int, now_ms: int) -> float:
    """Return the time until something is due."""
    return min(IDLE, max(BUSY, (due_ms - now_ms) / 1000))


def until_next_fetch(
    request: FetchRequest,
    result: FetchResult,
    wanted: int,
    enough: bool,
    processes: int,
    longest: float,
    *,
    new: bool = True,
) -> float | None:
    """Return the time until the next fetch of a group without a wakeup; None if nothing is
    expected.

    Args:
        wanted: How many of the fetched deliveries the handler wants.
        enough: Whether the group has as many delivery tasks as it may.
        new: Whether new entries are fetched too.
    """
    given = len(result.deliveries)
    if request.max_in_flight is not None and result.in_flight + given >= request.max_in_flight:
        # Due deliveries remain due and must not wake this dispatcher repeatedly. If the fetched
        # ones were not wanted, slots are available for another fetch.
        is_full = result.in_flight + wanted >= request.max_in_flight
        return until_share(result.mean_us) if is_full else 0.0
    if request.limit == 0:
        return until_slots(result.queued * result.mean_us, processes) if enough else 0.0
    if result.queued + wanted >= request.limit:
        return until_slots(request.limit * result.mean_us, processes)
    if (new and given >= request.max_new) or result.queued + given >= request.limit:
        return 0.0
    if result.next_due_ms is None:
        return None
    return max(BUSY, min(longest, (result.next_due_ms - result.now_ms) / 1000))
