"""The progress of a long sample, on stderr."""

from __future__ import annotations

import sys
import time

EVERY = 10.0  # seconds


class Progress:
    """Shows how many of `total` are done: a line in ten seconds, on a terminal the same line."""

    def __init__(self, done: str, total: int) -> None:
        self._done, self._total = done, total
        self._shown = time.monotonic()

    def show(self, count: int) -> None:
        now = time.monotonic()
        if now - self._shown < EVERY:
            return
        self._shown = now
        text = f"{count:,} of {self._total:,} {self._done}"
        sys.stderr.write(f"\r\033[K{text}" if sys.stderr.isatty() else f"{text}\n")
        sys.stderr.flush()
