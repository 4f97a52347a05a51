"""The last hour of a handler as bars, one a minute, within a box of 1 × 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from celeriac.tracking import Minute

WIDTH, HEIGHT = 120, 24
GAP = 0.4


class Bar(NamedTuple):
    """A rectangle; `failed` tells its colour."""

    x: float
    y: float
    width: float
    height: float
    failed: bool


def sparkline(minutes: Sequence[Minute]) -> list[Bar]:
    """What failed stands on what was processed. Bars are as high as the busiest minute allows, and
    at least one unit, so that a single event is seen."""
    most = max((one.processed + one.failed for one in minutes), default=0)
    if not most:
        return []
    step = WIDTH / len(minutes)
    bars: list[Bar] = []
    for n, minute in enumerate(minutes):
        top = float(HEIGHT)
        for value, failed in ((minute.processed, False), (minute.failed, True)):
            if not value:
                continue
            height = max(1.5, (HEIGHT - 2) * value / most)
            top -= height
            x, y, width, tall = (round(v, 2) for v in (n * step, top, step - GAP, height))
            bars.append(Bar(x, y, width, tall, failed))
    return bars
