"""Format numbers, times and states for pages."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec
from tornado.escape import xhtml_escape

from celeriac import time_text
from celeriac.tracking import MEANINGS, Cell, DeliveryState
from celeriac.visible import listed as listed

# The most severe first: the state of an event is the first of these that one of its cells has.
SEVERITY = (
    DeliveryState.DEAD,
    DeliveryState.MISSING,
    DeliveryState.SCHEDULED,
    DeliveryState.RUNNING,
    DeliveryState.QUEUED,
    DeliveryState.BLOCKED,
    DeliveryState.WAITING,
    DeliveryState.FORGOTTEN,
    DeliveryState.PROCESSED,
    DeliveryState.SKIPPED,
    DeliveryState.COALESCED,
    DeliveryState.IGNORED,
)
DONE = frozenset(
    {DeliveryState.PROCESSED, DeliveryState.SKIPPED, DeliveryState.COALESCED, DeliveryState.IGNORED}
)


def meaning(state: DeliveryState) -> str:
    return MEANINGS[state]


def overall(cells: Iterable[Cell]) -> DeliveryState | None:
    """Return the most severe state of the cells; None without a handler."""
    there = {cell.state for cell in cells}
    return next((state for state in SEVERITY if state in there), None)


def first_dead(cells: Iterable[Cell]) -> Cell | None:
    """Return the first dead cell with a known error, if any."""
    return next((cell for cell in cells if cell.state is DeliveryState.DEAD and cell.error), None)


def done(cells: Iterable[Cell]) -> int:
    """Return how many handlers are done with the event."""
    return sum(cell.state in DONE for cell in cells)


def summary(cells: Iterable[Cell]) -> str:
    """Return, for example, `2 processed, 1 dead`."""
    counts = Counter(cell.state for cell in cells)
    return ", ".join(f"{counts[s]} {s}" for s in SEVERITY if s in counts)


def count(number: float) -> str:
    """Return, for example, `1,234`; from 100,000 `123 k` or `1.2 M`."""
    if number < 100_000:
        return f"{int(number):,}"
    if number < 1_000_000:
        return f"{number / 1000:.0f} k"
    return f"{number / 1_000_000:.1f} M"


def duration(seconds: float | None) -> str:
    """Return, for example, `0.4 ms`, `1.3 s`, `4 min` or `3 d`; a dash for None."""
    return time_text.duration(seconds, missing="–")


def rate(per_second: float) -> str:
    """Return, for example, `120/s` or `1.4/s`, below 0.1/s `4/min`; a dash for zero."""
    if per_second <= 0:
        return "–"
    if per_second < 0.1:
        return f"{max(1, round(per_second * 60))}/min"
    return f"{per_second:.1f}/s" if per_second < 10 else f"{count(round(per_second))}/s"


def share(part: float | None) -> str:
    """Return a share in percent: `0 %`, `0.4 %`, `12 %`; a dash for None."""
    if part is None:
        return "–"
    if 0 < part < 0.01:
        return f"{max(part * 100, 0.1):.1f} %"
    return f"{part * 100:.0f} %"


def utc(time_ms: int) -> str:
    """Return an exact time, for programs and for browsers without scripts."""
    moment = datetime.fromtimestamp(time_ms / 1000, UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{time_ms % 1000:03}Z"


def plural(number: int, thing: str) -> str:
    """Return, for example, `1 event`, `2 events` or `2 processes`."""
    ending = "" if number == 1 else "es" if thing.endswith("s") else "s"
    return f"{count(number)} {thing}{ending}"


def breakable(name: str) -> str:
    """Return a name as HTML that a browser may break after `_`, `.` and `-`, not within a word."""
    return re.sub(r"([_.-]+)", r"\1<wbr>", xhtml_escape(name))


def json(value: Any) -> str:
    """Return a value as indented JSON."""
    encoded = msgspec.json.encode(value)
    return msgspec.json.format(encoded, indent=2).decode()


def attribute(value: Any) -> str:
    """Return a value as JSON for an attribute of an element; templates escape it."""
    return msgspec.json.encode(value).decode()
