"""Count handler runs without a broker, in a file that every process writes to.

Counting costs every candidate the same, and less than a tenth of the fastest candidate's time for
an event: each thread adds to its own page in shared memory. A latency is one short write with
O_APPEND, which is atomic.
"""

from __future__ import annotations

import mmap
import os
import struct
import sys
import time
from pathlib import Path
from threading import get_ident

VARIABLE = "BENCH_RUN_COUNTER"
_LATENCY = struct.Struct("d")
_COUNT = struct.Struct("Q")
LATENCY_BYTES = _LATENCY.size


class RunCounter:
    """Reads the counts."""

    def __init__(self, path: Path) -> None:
        self.path, self._counts = path, counts_of(path)
        path.touch()
        self._counts.touch()
        self._pages: mmap.mmap | None = None

    @property
    def size(self) -> int:
        """The number of runs plus the bytes of all latencies."""
        return self.path.stat().st_size + self._counted()

    def _counted(self) -> int:
        written = self._counts.stat().st_size
        if not written:
            return 0
        if self._pages is None or len(self._pages) != written:
            with self._counts.open("rb") as file:
                self._pages = mmap.mmap(file.fileno(), written, access=mmap.ACCESS_READ)
        pages = range(0, written, mmap.PAGESIZE)
        return sum(_COUNT.unpack_from(self._pages, page)[0] for page in pages)

    def wait(self, size: int, seconds: float) -> bool:
        """Block until `size` is reached. Return False if it is not reached in time."""
        deadline = time.monotonic() + seconds
        while self.size < size:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.001)
        return True

    def latencies(self, after: int) -> list[float]:
        """Return the seconds from emit to handler that were written after a size.

        No run may have been counted since.
        """
        with self.path.open("rb") as file:
            file.seek(after - self._counted())
            written = file.read()
        written = written[: len(written) // LATENCY_BYTES * LATENCY_BYTES]
        return [seconds for (seconds,) in _LATENCY.iter_unpack(written)]


def counts_of(path: Path) -> Path:
    return path.with_name(path.name + ".counts")


_path = Path(os.environ[VARIABLE]) if VARIABLE in os.environ else None
_latencies = os.open(_path, os.O_WRONLY | os.O_APPEND) if _path else -1
# By thread. A forked process has pages of its own.
_counts: dict[int, memoryview] = {}
os.register_at_fork(after_in_child=_counts.clear)


_IS_GEVENT = "gevent.monkey" in sys.modules


def count(events: int = 1) -> None:
    # Greenlets share a page, as they share a thread: none of them is interrupted here.
    thread = 0 if _IS_GEVENT else get_ident()
    counted = _counts.get(thread)
    if counted is None:
        counted = _counts[thread] = _own_page()
    counted[0] += events


def _own_page() -> memoryview:
    assert _path is not None, f"{VARIABLE} names no file"
    with counts_of(_path).open("a+b", buffering=0) as file:
        # Appending is atomic, and leaves the position at the end of what was appended.
        file.write(bytes(mmap.PAGESIZE))
        start = file.tell() - mmap.PAGESIZE
        return memoryview(mmap.mmap(file.fileno(), mmap.PAGESIZE, offset=start)).cast("Q")


def arrived(sent: float) -> None:
    """`sent` is of the monotonic clock, which all processes of a machine share."""
    os.write(_latencies, _LATENCY.pack(time.monotonic() - sent))
