"""Files are made and read in memory that does not grow with the number of events."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from celeriac.archive.parquet import FileLimits, make_file
from celeriac.archive.storage import ArchiveFile, Storage
from celeriac.event import encode
from celeriac.event_log import Entry
from tests.unit.archive.conftest import Bench

MS = 1_764_255_600_000
LIMITS = FileLimits(events=2_000)


class GeneratedLog:
    """An event log of `length` entries. Each is made when it is read."""

    def __init__(self, length: int, body: bytes) -> None:
        self.length, self.body = length, body

    def read(self, domain: str, *, start: str, end: str, count: int) -> list[Entry]:
        first = int(start.rpartition("-")[2]) + 1 if start.startswith("(") else 0
        return [
            Entry(f"{MS}-{n}", self.body) for n in range(first, min(first + count, self.length))
        ]


def store(storage: Storage, log: Any) -> Iterator[ArchiveFile]:
    start = "-"
    while file := make_file(log, "order", start, lambda _: frozenset(), LIMITS):
        assert storage.create(file.file, file.content)
        yield file.file
        start = f"({file.last}"


def test_memory_does_not_grow_with_the_number_of_events(bench: Bench) -> None:
    body = encode(bench.bus.event("order.placed", {"text": "x" * 200}))
    peaks = []
    before = pa.total_allocated_bytes()  # other tests may not have freed all of theirs
    for length in (4_000, 24_000):
        storage = Storage((Path(bench.folder) / str(length)).as_uri())
        tracemalloc.start()
        files = sum(1 for _ in store(storage, GeneratedLog(length, body)))
        read = sum(
            len(page)
            for domain in storage.domains()
            for day in storage.days(domain)
            for first in storage.firsts(domain, day)
            for page in storage.read(ArchiveFile(domain, first))
        )
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert (length, length // LIMITS.events) == (read, files)
    # Arrow has its own allocator, which tracemalloc does not see.
    assert pa.total_allocated_bytes() - before < 1_000_000
    small, large = peaks
    assert large < 1.3 * small
