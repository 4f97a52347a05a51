"""Delay deliveries whose workers died repeatedly. Pure except for chance.

Which of the deliveries that a worker was running made it die is unknown: the kernel that runs out
of memory, or a drained node, ends them all. If they ran again at the same time, they would be dead-
lettered together. So each waits for a different time.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from celeriac.delivery import MAX_LOST_RUNS, Completion
from celeriac.dispatcher.chunk import Item

AT_ONCE = 2  # lost runs after which a delivery is still not delayed
MAX_LEASES_APART = 10


def delay_lost_runs(
    items: Sequence[Item], lease: float, chance: Callable[[], float] = random.random
) -> tuple[list[Item], list[Completion]]:
    """Return the deliveries that run now, and those that wait.

    `lease` is in seconds, `chance` returns values in [0, 1). A delivery that was lost MAX_LOST_RUNS
    times does not wait: the executor dead-letters it.
    """
    now, later = [], []
    for item in items:
        if AT_ONCE < item.lost_runs < MAX_LOST_RUNS:
            later.append(item.requeued(lost_run_delay_ms(item.lost_runs, lease, chance())))
        else:
            now.append(item)
    return now, later


def lost_run_delay_ms(lost_runs: int, lease: float, chance: float) -> int:
    """Return the delay: up to 2 leases after the third lost run, doubled after each further one."""
    leases = min(MAX_LEASES_APART, 2 ** (lost_runs - AT_ONCE))
    return int(lease * leases * chance * 1000)
