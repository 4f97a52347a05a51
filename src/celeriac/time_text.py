"""Times and durations as text for display. Times are UTC."""

from __future__ import annotations

from datetime import UTC, datetime


def when(ms: int | None, *, now_ms: int | None = None) -> str:
    """Return `2026-11-23 07:05:18`, with `now_ms` also the distance from now."""
    if ms is None:
        return ""
    text = f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"
    if now_ms is None:
        return text
    away = (now_ms - ms) / 1000
    return f"{text} ({age(away)} ago)" if away >= 0 else f"{text} (in {age(-away)})"


def age(seconds: float | None) -> str:
    """Return a duration as `850 ms`, `12 s`, `3 min`, `5 h` or `2 d`."""
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    for unit, size, limit in (("s", 1, 120), ("min", 60, 120), ("h", 3600, 48)):
        if seconds < size * limit:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"


def took(us: int | None) -> str:
    """Return a run time as `12 µs`, `3.4 ms` or `1.2 s`."""
    if not us:
        return ""
    if us < 1000:
        return f"{us} µs"
    return f"{us / 1000:.1f} ms" if us < 1_000_000 else f"{us / 1e6:.1f} s"
