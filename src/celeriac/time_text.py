"""Times and durations as text for display. Times are UTC."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Final

# The unit, its seconds, and the durations below which it is used: none is rounded to 1000 ms.
_UNITS: Final = (
    ("µs", 1e-6, 0.0009995),
    ("ms", 1e-3, 0.9995),
    ("s", 1.0, 120.0),
    ("min", 60.0, 7200.0),
    ("h", 3600.0, 172_800.0),
    ("d", 86400.0, math.inf),
)


def when(ms: int | None, *, now_ms: int | None = None) -> str:
    """Return `2026-11-23 07:05:18`, with `now_ms` also the distance from now."""
    if ms is None:
        return ""
    text = f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"
    if now_ms is None:
        return text
    away = (now_ms - ms) / 1000
    return f"{text} ({duration(away)} ago)" if away >= 0 else f"{text} (in {duration(-away)})"


def duration(seconds: float | None, *, missing: str = "") -> str:
    """Return `850 µs`, `3.4 ms`, `12 ms`, `1.2 s`, `12 s`, `3 min`, `2.5 h` or `9 d`.

    `missing` is the text for None.
    """
    if seconds is None:
        return missing
    if seconds <= 0:
        return "0 s"
    unit, size, _ = next(unit for unit in _UNITS if seconds < unit[2])
    number = seconds / size
    digits = f"{number:.1f}".removesuffix(".0") if number < 9.95 else f"{number:.0f}"
    return f"{digits} {unit}"


def run_time(us: int | None) -> str:
    """Return a run time in microseconds as a duration; nothing if it is 0, which is unknown."""
    return duration(us / 1e6) if us else ""
