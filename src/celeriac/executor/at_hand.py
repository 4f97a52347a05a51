"""Which events a pool process is at, for the worker's main process to read when it has died.

A crash counts for the event that was being run, and for none of its neighbours in the chunk. To
record that in Redis would cost a command for each event. So the processes of a worker share memory:
it is made before the pool forks, each process writes to a slot of its own, and the main process
reads the slot once the process is dead. Where they share no memory, the event is unknown.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from zlib import crc32

SLOTS = 4096  # a process has that of its number; two that share one hide each other
CHUNK, PID, FIRST, END, FIELDS = 0, 1, 2, 3, 4


class AtHand:
    """One process writes `begin` and `enter` for one chunk at a time; another reads with `of`."""

    def __init__(self) -> None:
        self._shared = memoryview(mmap.mmap(-1, SLOTS * FIELDS * 8)).cast("Q")
        self._slot = 0

    def begin(self, handler: str, domain: str, hinted: Sequence[tuple[str, str]]) -> None:
        """A chunk begins, and none of its events has."""
        pid = os.getpid()
        slot = self._slot = pid % SLOTS * FIELDS
        self._shared[slot + FIRST] = self._shared[slot + END] = 0
        self._shared[slot + PID] = pid
        self._shared[slot + CHUNK] = _number(handler, domain, hinted)

    def enter(self, first: int, end: int) -> None:
        """The handler is about to be called with what the hint names from `first` on, before
        `end`."""
        slot = self._slot
        self._shared[slot + FIRST] = first
        self._shared[slot + END] = end

    def of(
        self, pid: int | None, handler: str, domain: str, hinted: Sequence[tuple[str, str]]
    ) -> range | None:
        """The places in the hint that the process was at; None where that is not known."""
        if pid is None:
            return None
        slot = pid % SLOTS * FIELDS
        of_it = self._shared[slot + PID] == pid
        if not of_it or self._shared[slot + CHUNK] != _number(handler, domain, hinted):
            return None
        return range(self._shared[slot + FIRST], self._shared[slot + END]) or None


def _number(handler: str, domain: str, hinted: Sequence[tuple[str, str]]) -> int:
    return crc32(f"{handler} {domain} {hinted[0][0]} {hinted[-1][0]} {len(hinted)}".encode())
