"""How many events make a sample of the wished length, found out by doing a few."""

from __future__ import annotations

from collections.abc import Callable

FIRST = 100
MOST = 200_000
STEPS = 6


def events_for(seconds: float, run: Callable[[int], float], most: int = MOST) -> int:
    """`run` takes a number of events and returns its seconds. Warms up what it measures.

    Always a multiple of 100, since some peers go by hundreds.
    """
    events = FIRST
    for _ in range(STEPS):
        took = run(events)
        fitting = int(events * seconds / max(took, 1e-6))
        if took >= seconds / 2:
            events = fitting
            break
        events = min(fitting, events * 10)
    return max(FIRST, min(most, events) // 100 * 100)
