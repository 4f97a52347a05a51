"""Count the events of each type that this process emits, and add the counts in Redis.

Counting within `emit` would need a second command for each event. So counts are kept in memory and
added in Redis at most once in FLUSH_EVERY seconds, by a thread that runs only while there are
counts. Counts of a process that is killed are lost: they are statistics. The number of entries that
a log ever had is exact, and Redis itself counts it (`entries-added`).
"""

from __future__ import annotations

import atexit
import logging
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from weakref import WeakSet

from celeriac.fork import after_fork_in_child

logger = logging.getLogger(__name__)

FLUSH_EVERY = 1.0  # seconds
MAX_NOTED = 1_000_000  # more than a process emits in a second


class EmittedCounter:
    """Counts emitted events. Thread-safe and fork-safe.

    `add` receives type → count, and may raise.
    """

    def __init__(self, add: Callable[[Mapping[str, int]], None]) -> None:
        self._add = add
        self.reset()
        _counters.add(self)

    def reset(self) -> None:
        """Drop all counts. The child of a fork must call this: its parent adds them."""
        # Appending and popping are atomic, so that no lock delays an emit.
        self._noted: deque[str] = deque(maxlen=MAX_NOTED)
        self._scheduled = False

    def note(self, types: Iterable[str]) -> None:
        """Count one event of each given type. Never blocks, never raises."""
        self._noted.extend(types)
        if not self._scheduled:
            self._schedule()

    def _schedule(self) -> None:
        self._scheduled = True
        timer = threading.Timer(FLUSH_EVERY, self.flush)
        timer.name, timer.daemon = "celeriac-emitted", True
        try:
            timer.start()
        except RuntimeError:  # no more threads, or the interpreter is ending: atexit flushes
            self._scheduled = False
        except BaseException:  # a time limit
            self._scheduled = False
            raise

    def flush(self) -> None:
        """Add the counts in Redis. Blocks for a round trip; drops the counts if that fails."""
        # First, so that events noted from here on are in this flush or schedule the next one.
        self._scheduled = False
        counts: Counter[str] = Counter()
        noted = self._noted
        while noted:
            try:
                counts[noted.popleft()] += 1
            except IndexError:
                break
        if not counts:
            return
        try:
            self._add(counts)
        except Exception as error:
            logger.debug("%d emitted events are not in the statistics: %s", counts.total(), error)


_counters: WeakSet[EmittedCounter] = WeakSet()


def flush_emitted() -> None:
    """Add the counts of this process in Redis, before it ends."""
    for counter in list(_counters):
        counter.flush()


def _after_in_child() -> None:
    for counter in list(_counters):
        counter.reset()


atexit.register(flush_emitted)
after_fork_in_child(_after_in_child)
