"""Which events a pool process is running, for the worker's main process to read after a crash.

A crash counts as a failure of the event that was running, and of no other event of its chunk.
Recording that in Redis would cost a command for each event. So the processes of a worker share
memory: it is allocated before the pool forks, each process writes to its own slot, and the main
process reads the slot of a dead process. Without shared memory, the event is unknown.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from typing import NamedTuple
from zlib import crc32

SLOTS = 4096  # by process id; two processes with the same slot hide each other
CHUNK, PID, FIRST, END, FOLLOWING, FIELDS = 0, 1, 2, 3, 4, 5


class ChunkPosition(NamedTuple):
    """A position in an open chunk, counted from its end.

    The entries from the `first` last one on were running, except the `end` last ones; 0 and 0
    before the first. `following` is the chunk that is fetched next.
    """

    chunk: str
    first: int
    end: int
    following: str

    def of(self, entries: Sequence[object]) -> range:
        """Return the indexes of the running entries in what is left of the chunk."""
        return range(max(0, len(entries) - self.first), len(entries) - self.end)


class SharedProgress:
    """Written by one process with `begin` and `enter`, one chunk at a time; read by another with
    `of`."""

    def __init__(self) -> None:
        self._shared = memoryview(mmap.mmap(-1, SLOTS * FIELDS * 8)).cast("Q")
        self._slot = 0

    def begin(self, handler: str, domain: str, pairs: Sequence[tuple[str, str]]) -> None:
        """Record that the events of a task begin, none of them yet."""
        pid = os.getpid()
        slot = self._slot = pid % SLOTS * FIELDS
        self._shared[slot + FIRST] = self._shared[slot + END] = 0
        self._shared[slot + PID] = pid
        self._shared[slot + CHUNK] = _number(handler, domain, pairs)

    def enter(self, first: int, end: int) -> None:
        """Record that the handler is called with the events from `first` to before `end`.

        For an open chunk, both are counted from its end.
        """
        slot = self._slot
        self._shared[slot + FIRST] = first
        self._shared[slot + END] = end

    def begin_chunk(self, chunk: str) -> None:
        """Record that an open chunk begins, none of its entries yet."""
        pid = os.getpid()
        slot = self._slot = pid % SLOTS * FIELDS
        self._shared[slot + FIRST] = self._shared[slot + END] = self._shared[slot + FOLLOWING] = 0
        self._shared[slot + PID] = pid
        self._shared[slot + CHUNK] = int(chunk, 16)

    def shorten_chunk(self, entries: int) -> None:
        """Record that the open chunk no longer has its last entries, which do not run."""
        for field in (self._slot + FIRST, self._slot + END):
            self._shared[field] = max(0, self._shared[field] - entries)

    def expect_chunk(self, chunk: str) -> None:
        """Record that this chunk is fetched next."""
        self._shared[self._slot + FOLLOWING] = int(chunk, 16)

    def chunk_of(self, pid: int | None) -> ChunkPosition | None:
        """Return the open chunk and the position of the process; None if unknown."""
        if pid is None:
            return None
        slot = pid % SLOTS * FIELDS
        chunk, owner, first, end, following = self._shared[slot : slot + FIELDS]
        if owner != pid:
            return None
        return ChunkPosition(f"{chunk:016x}", first, end, f"{following:016x}")

    def of(
        self, pid: int | None, handler: str, domain: str, pairs: Sequence[tuple[str, str]]
    ) -> range | None:
        """Return the indexes of the running events in the task; None if unknown."""
        if pid is None:
            return None
        slot = pid % SLOTS * FIELDS
        is_owner = self._shared[slot + PID] == pid
        if not is_owner or self._shared[slot + CHUNK] != _number(handler, domain, pairs):
            return None
        return range(self._shared[slot + FIRST], self._shared[slot + END]) or None


def _number(handler: str, domain: str, pairs: Sequence[tuple[str, str]]) -> int:
    return crc32(f"{handler} {domain} {pairs[0][0]} {pairs[-1][0]} {len(pairs)}".encode())
