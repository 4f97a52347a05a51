"""The last hour of a handler as bars, one per minute, in a box of 1 × 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from celeriac.tracking import Minute

WIDTH, HEIGHT = 120, 24
GAP = 0.4


class Bar(NamedTuple):
    """A rectangle; `failed` selects its colour."""

    x: float
    y: float
    width: float
    height: float
    failed: bool


def sparkline(minutes: Sequence[Minute]) -> list[Bar]:
    """Return the bars: failed attempts stacked on processed deliveries.

    The busiest minute sets the scale. A bar is at least one unit high, so that a single event is
    visible.
    """
    maximum = max((minute.processed + minute.failed for minute in minutes), default=0)
    if not maximum:
        return []
    step = WIDTH / len(minutes)
    bars: list[Bar] = []
    for n, minute in enumerate(minutes):
        top = float(HEIGHT)
        for value, failed in ((minute.processed, False), (minute.failed, True)):
            if not value:
                continue
            height = max(1.5, (HEIGHT - 2) * value / maximum)
            top -= height
            x, y, width, tall = (round(v, 2) for v in (n * step, top, step - GAP, height))
            bars.append(Bar(x, y, width, tall, failed))
    return bars
