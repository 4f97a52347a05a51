"""Requeue the events behind one that takes long, while it runs: other processes may be free.

A task has several events that are expected to take a few milliseconds together. If one of them
waits for a database or for another service, the events behind it would wait as long.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

# Seconds that an event runs before the events behind it are requeued.
LONGEST_RUN = 1.0


class RunLimit:
    """How many of the `count` parts of a task may run; a part is an event or a batch.

    The thread that runs the task sets `running` to the number of the part, from 1, before it begins
    that part, and then asks `stops` if that is more than `end`. Another thread calls
    `requeue_behind`. Each writes its own number before it reads the other's, so a part that was
    requeued never begins.

    `requeue` makes all parts after the given number available to other processes; it blocks and may
    raise.
    """

    __slots__ = (
        "_is_closed", "_lock", "_requeue", "_seen", "_since",
        "count", "end", "is_requeued", "running",
    )  # fmt: skip

    def __init__(self, count: int, requeue: Callable[[int], None]) -> None:
        self.count = self.end = count
        self.running = 0
        self._requeue = requeue
        self._lock = threading.Lock()
        self._is_closed = False
        self.is_requeued = False  # whether the parts after `end` were requeued
        self._seen, self._since = 0, 0.0

    def stops(self, part: int) -> bool:
        """Return whether the part must not begin. Waits until its requeue has ended."""
        with self._lock:
            return part > self.end

    def close(self) -> None:
        """Requeue nothing from now on: the thread that ran the task does so itself."""
        with self._lock:
            self._is_closed = True

    def requeue_behind(self, now: float) -> bool:
        """Requeue what follows a part that has run for LONGEST_RUN by the calls of this method.

        Returns whether it did. `now` is monotonic. If `requeue` raises, nothing further runs, and
        the next call tries again.
        """
        running = self.running
        if running != self._seen:
            self._seen, self._since = running, now
            return False
        if not 0 < running < self.count or now - self._since < LONGEST_RUN or self.is_requeued:
            return False
        with self._lock:
            if self._is_closed:
                return False
            self.end = running
            if self.running != running:
                # It ended at this moment: the next one has begun.
                self.end = self.count
                return False
            self._requeue(running)
            self.is_requeued = True
        return True
