"""The clock of the stores in memory."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    def now_ms(self) -> int:
        """Return the time in ms since the epoch."""
        ...


class ProcessClock:
    """The clock of this process."""

    def now_ms(self) -> int:
        return int(time.time() * 1000)


class MemoryClock:
    """A clock that advances only when `advance` is called. Begins at the real time."""

    def __init__(self, now_ms: int | None = None) -> None:
        self._now_ms = int(time.time() * 1000) if now_ms is None else now_ms

    def now_ms(self) -> int:
        return self._now_ms

    def advance(self, ms: int) -> None:
        self._now_ms += ms
