"""What handlers did, counted without any broker: a file that every process appends to.

One short write with O_APPEND is atomic and takes a microsecond, so the count costs each contestant
the same, in any pool.
"""

from __future__ import annotations

import os
import struct
import time
from pathlib import Path

VARIABLE = "BENCH_TALLY"
_LATENCY = struct.Struct("d")


class Tally:
    """The reading side."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    @property
    def size(self) -> int:
        return self.path.stat().st_size

    def wait(self, size: int, seconds: float) -> bool:
        """Blocks until the file has that size; False when it has not in time."""
        deadline = time.monotonic() + seconds
        while self.size < size:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.001)
        return True

    def latencies(self, after: int) -> list[float]:
        """Seconds from emit to handler, of what was written after that size."""
        with self.path.open("rb") as file:
            file.seek(after)
            written = file.read()
        written = written[: len(written) // LATENCY_BYTES * LATENCY_BYTES]
        return [seconds for (seconds,) in _LATENCY.iter_unpack(written)]


LATENCY_BYTES = _LATENCY.size
_file = os.open(os.environ[VARIABLE], os.O_WRONLY | os.O_APPEND) if VARIABLE in os.environ else -1


def count(events: int = 1) -> None:
    os.write(_file, b"." * events)


def arrived(sent: float) -> None:
    """`sent` is of the monotonic clock, which all processes of a machine share."""
    os.write(_file, _LATENCY.pack(time.monotonic() - sent))
