"""How many events make a sample of the wished length, found out by doing a few."""

from __future__ import annotations

from collections.abc import Callable

FIRST = 100
MOST = 200_000
STEPS = 4
CLOSE = 0.6, 1.7


def events_for(seconds: float, run: Callable[[int], float]) -> int:
    """`run` takes a number of events and returns its seconds. Warms up what it measures.

    Always a multiple of 100, since some peers go by hundreds.
    """
    events, least, most = FIRST, CLOSE[0] * seconds, CLOSE[1] * seconds
    for _ in range(STEPS):
        took = run(events)
        fitting = min(MOST, events * 10, max(FIRST, int(events * seconds / took)))
        if least <= took <= most:
            break
        # The first turn of a worker costs more than the following.
        events = max(fitting, 5 * FIRST) // 100 * 100
    return events
