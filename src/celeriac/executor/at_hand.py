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
from typing import NamedTuple
from zlib import crc32

SLOTS = 4096  # a process has that of its number; two that share one hide each other
CHUNK, PID, FIRST, END, FOLLOWING, FIELDS = 0, 1, 2, 3, 4, 5


class PlaceInChunk(NamedTuple):
    """The entries from the `first` last one of the chunk on, without its `end` last ones, were
    being run; 0 and 0 before the first. `following` is the chunk that is fetched next."""

    chunk: str
    first: int
    end: int
    following: str

    def of(self, entries: Sequence[object]) -> range:
        """Return the places of these entries in what is left of the chunk."""
        return range(max(0, len(entries) - self.first), len(entries) - self.end)


class AtHand:
    """One process writes `begin` and `enter` for one chunk at a time; another reads with `of`."""

    def __init__(self) -> None:
        self._shared = memoryview(mmap.mmap(-1, SLOTS * FIELDS * 8)).cast("Q")
        self._slot = 0

    def begin(self, handler: str, domain: str, pairs: Sequence[tuple[str, str]]) -> None:
        """A chunk begins, and none of its events has."""
        pid = os.getpid()
        slot = self._slot = pid % SLOTS * FIELDS
        self._shared[slot + FIRST] = self._shared[slot + END] = 0
        self._shared[slot + PID] = pid
        self._shared[slot + CHUNK] = _number(handler, domain, pairs)

    def enter(self, first: int, end: int) -> None:
        """The handler is about to be called with what the hint names from `first` on, before
        `end`; of a chunk both are counted from its end."""
        slot = self._slot
        self._shared[slot + FIRST] = first
        self._shared[slot + END] = end

    def begin_chunk(self, chunk: str) -> None:
        """An open chunk begins, and none of its entries has."""
        pid = os.getpid()
        slot = self._slot = pid % SLOTS * FIELDS
        self._shared[slot + FIRST] = self._shared[slot + END] = self._shared[slot + FOLLOWING] = 0
        self._shared[slot + PID] = pid
        self._shared[slot + CHUNK] = int(chunk, 16)

    def expect_chunk(self, chunk: str) -> None:
        """That chunk is about to be fetched."""
        self._shared[self._slot + FOLLOWING] = int(chunk, 16)

    def chunk_of(self, pid: int | None) -> PlaceInChunk | None:
        """Where in which open chunk the process was; None if that is not known."""
        if pid is None:
            return None
        slot = pid % SLOTS * FIELDS
        chunk, owner, first, end, following = self._shared[slot : slot + FIELDS]
        if owner != pid:
            return None
        return PlaceInChunk(f"{chunk:016x}", first, end, f"{following:016x}")

    def of(
        self, pid: int | None, handler: str, domain: str, pairs: Sequence[tuple[str, str]]
    ) -> range | None:
        """The places in the hint that the process was at; None where that is not known."""
        if pid is None:
            return None
        slot = pid % SLOTS * FIELDS
        of_it = self._shared[slot + PID] == pid
        if not of_it or self._shared[slot + CHUNK] != _number(handler, domain, pairs):
            return None
        return range(self._shared[slot + FIRST], self._shared[slot + END]) or None


def _number(handler: str, domain: str, pairs: Sequence[tuple[str, str]]) -> int:
    return crc32(f"{handler} {domain} {pairs[0][0]} {pairs[-1][0]} {len(pairs)}".encode())
