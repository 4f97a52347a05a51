from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from celeriac import EventBus
from celeriac.archive.archiver import ArchiveOptions, Archiver
from celeriac.archive.storage import Storage
from celeriac.event_log import entry_key
from celeriac.testing import MemoryBus, in_memory


class Bench:
    """A bus in memory, an emitter on it, and an archive on the disk."""

    def __init__(self, memory: MemoryBus, bus: EventBus, folder: Path) -> None:
        self.memory, self.bus, self.folder = memory, bus, folder
        self.url = folder.as_uri()

    @property
    def storage(self) -> Storage:
        return Storage(self.url)

    def archiver(self, options: ArchiveOptions | None = None) -> Archiver:
        return Archiver(
            self.memory.store.backend, self.bus.settings, self.storage, options or ArchiveOptions()
        )

    def emit(self, count: int, type: str = "order.placed", prefix: str = "") -> list[str]:
        return [
            self.bus.emit(type, {"n": n}, id=f"{prefix}{n}" if prefix else None)
            for n in range(count)
        ]

    def files(self) -> list[str]:
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*.parquet"))

    def rows(self, columns: str = "id") -> list[tuple[object, ...]]:
        files = f"{self.folder}/**/*.parquet"
        query = f"SELECT domain, entry, {columns} FROM read_parquet('{files}')"
        found = duckdb.connect().execute(query).fetchall()
        found.sort(key=lambda row: (row[0], entry_key(row[1])))
        return [row[2:] for row in found]

    def ids(self) -> list[object]:
        return [row[0] for row in self.rows()] if self.files() else []


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bus = EventBus(service="orders")
    with in_memory(bus) as memory:
        yield Bench(memory, bus, tmp_path / "archive")
