"""When a delivery runs again whose workers died again and again. Pure but for chance.

Which of the deliveries that were under way in a worker made it die, nothing tells: a kernel that is
short of memory, or a node that is drained, ends them all. Run again at the same time they would be
under way together again, and be dead-lettered together. So each waits for a time of its own.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from celeriac.delivery import MAX_LOST_RUNS, Completion
from celeriac.dispatcher.chunk import Item

AT_ONCE = 2  # lost runs after which a delivery still runs again at once
MAX_LEASES_APART = 10


def run_apart(
    items: Sequence[Item], lease: float, chance: Callable[[], float] = random.random
) -> tuple[list[Item], list[Completion]]:
    """Return the deliveries that run now, and those that wait. `lease` is in seconds, `chance` in
    [0, 1).

    One that was lost MAX_LOST_RUNS times does not wait: the executor dead-letters it.
    """
    now, later = [], []
    for item in items:
        if AT_ONCE < item.lost_runs < MAX_LOST_RUNS:
            later.append(item.put_off(apart_ms(item.lost_runs, lease, chance())))
        else:
            now.append(item)
    return now, later


def apart_ms(lost_runs: int, lease: float, chance: float) -> int:
    """Return the wait: up to 2 leases after the third lost run, doubled after each further one."""
    leases = min(MAX_LEASES_APART, 2 ** (lost_runs - AT_ONCE))
    return int(lease * leases * chance * 1000)
