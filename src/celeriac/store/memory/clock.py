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
