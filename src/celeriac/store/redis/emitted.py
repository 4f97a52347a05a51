"""How many events of each type this process emitted, told to the server beside the emitting.

Counting within `emit` would need a second command for each event. So it is noted in memory, and
added up in Redis at most once in FLUSH_EVERY seconds, by a thread that lives only while there is
something to tell. A process that is killed takes what it noted since then with it: the counts are
statistics. How many entries a log ever had is exact, and Redis itself knows it (`entries-added`).
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
MOST_NOTED = 1_000_000  # more than a process emits in a second


class EmittedTally:
    """Thread-safe and fork-safe. `tell` is given type → count, and may raise."""

    def __init__(self, tell: Callable[[Mapping[str, int]], None]) -> None:
        self._tell = tell
        self.begin_anew()
        _tallies.add(self)

    def begin_anew(self) -> None:
        """Forgets what was noted, as the child of a fork must: its parent tells it."""
        # Appending and popping are atomic, so that no lock stands in the way of an emit.
        self._noted: deque[str] = deque(maxlen=MOST_NOTED)
        self._scheduled = False

    def note(self, types: Iterable[str]) -> None:
        """Notes one event of each type given. Never blocks, never raises."""
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

    def flush(self) -> None:
        """Tells what is noted. Blocks for a round trip; what cannot be told is dropped."""
        # First this: what is noted from here on is told by this flush or schedules the next.
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
            self._tell(counts)
        except Exception as error:
            logger.debug("%d emitted events are not in the statistics: %s", counts.total(), error)


_tallies: WeakSet[EmittedTally] = WeakSet()


def flush_emitted() -> None:
    """Tells what this process has noted, before it ends."""
    for tally in list(_tallies):
        tally.flush()


def _after_in_child() -> None:
    for tally in list(_tallies):
        tally.begin_anew()


atexit.register(flush_emitted)
after_fork_in_child(_after_in_child)
