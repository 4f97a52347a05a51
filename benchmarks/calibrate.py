"""Estimate how many events make a sample of the requested length, by emitting a few."""

from __future__ import annotations

from collections.abc import Callable

FIRST = 100
MAX_EVENTS = 200_000
STEPS = 4
CLOSE = 0.6, 1.7


def events_for(seconds: float, run: Callable[[int], float]) -> int:
    """`run` takes a number of events and returns its seconds. Warms up what it measures.

    Always a multiple of 100, because some candidates emit in hundreds.
    """
    events, shortest, longest = FIRST, CLOSE[0] * seconds, CLOSE[1] * seconds
    for _ in range(STEPS):
        took = run(events)
        fitting = min(MAX_EVENTS, events * 10, max(FIRST, int(events * seconds / took)))
        if shortest <= took <= longest:
            break
        # The first run of a worker costs more than later ones.
        events = max(fitting, 5 * FIRST) // 100 * 100
    return events
