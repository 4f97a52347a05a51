"""Make one file of an archive from a part of the event log."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from celeriac.archive.row import SCHEMA, Row, batch_of, row_of
from celeriac.archive.storage import LAST, ArchiveFile, day_of
from celeriac.errors import InvalidEvent
from celeriac.event import read_header
from celeriac.event_log import Entry, EntryKind, EventLog
from celeriac.transfer import FIRST_PAGE, next_page

PAGE = 1000
ROW_GROUP_ROWS, ROW_GROUP_BYTES = 10_000, 8_000_000
# Returns the ids of entries that repeat an event of an earlier entry.
FindRepetitions = Callable[[Sequence[tuple[Entry, str]]], frozenset[str]]


@dataclass(frozen=True, slots=True)
class FileLimits:
    """Where a file ends: after so many entries, or about so many bytes of JSON."""

    events: int = 50_000
    size: int = 64_000_000


class StoredEntry(msgspec.Struct, frozen=True, gc=False):
    """An entry of a file's part of the log. `type` is that of its event; empty if the entry is not
    stored, because it repeats an event, or is not an event."""

    id: str
    type: str


@dataclass(frozen=True, slots=True)
class NewFile:
    """The content of a file, and the entries of the log up to which it is complete, in log order.

    `content` is empty if none of them is stored.
    """

    file: ArchiveFile
    content: bytes
    entries: Sequence[StoredEntry]
    events: int

    @property
    def last(self) -> str:
        return self.entries[-1].id


def make_file(
    event_log: EventLog,
    domain: str,
    start: str,
    find_repetitions: FindRepetitions,
    limits: FileLimits,
    *,
    end: str = "+",
) -> NewFile | None:
    """Return the file of the entries from `start` (`(id`: behind it) to `end`, of one day at most;
    None without entries.

    Blocks for round trips. Holds one page, one row group and the compressed file in memory.
    """
    output = pa.BufferOutputStream()
    entries: list[StoredEntry] = []
    events = size = 0
    with pq.ParquetWriter(output, SCHEMA, compression="zstd") as writer:
        group = RowGroup(writer)
        for page in _pages(event_log, domain, start, end, limits.events):
            keyed = [(entry, *_key_and_type(entry)) for entry in page]
            repeated = find_repetitions([(entry, key) for entry, key, _ in keyed if key])
            for entry, _, type in keyed:
                # A redriven event is in the archive since its first entry.
                is_copy = entry.kind is EntryKind.REDRIVEN or entry.id in repeated
                if is_copy or entry.body is None:
                    entries.append(StoredEntry(entry.id, ""))
                    continue
                entries.append(StoredEntry(entry.id, type))
                group.add(row_of(entry.id, entry.body), len(entry.body))
                size += len(entry.body)
                events += 1
            if size >= limits.size:
                break
        group.write()
        if entries:
            writer.add_key_value_metadata({LAST.decode(): entries[-1].id})
    if not entries:
        return None
    content = output.getvalue().to_pybytes() if events else b""
    return NewFile(ArchiveFile(domain, entries[0].id), content, entries, events)


class RowGroup:
    """Collects rows, and writes them as one row group when they are many."""

    def __init__(self, writer: pq.ParquetWriter) -> None:
        self._writer = writer
        self._rows: list[Row] = []
        self._size = 0

    def add(self, row: Row, size: int) -> None:
        self._rows.append(row)
        self._size += size
        if len(self._rows) >= ROW_GROUP_ROWS or self._size >= ROW_GROUP_BYTES:
            self.write()

    def write(self) -> None:
        if self._rows:
            self._writer.write_batch(batch_of(self._rows))
            self._rows, self._size = [], 0


def read_types(
    event_log: EventLog, domain: str, start: str, end: str
) -> Iterator[list[StoredEntry]]:
    """Yield the entries from `start` to `end` in pages."""
    for page in _pages(event_log, domain, start, end):
        yield [StoredEntry(entry.id, _key_and_type(entry)[1]) for entry in page]


def _pages(
    event_log: EventLog, domain: str, start: str, end: str, limit: float = math.inf
) -> Iterator[Sequence[Entry]]:
    """Yield at most `limit` entries in pages; the last one ends with the day of the first entry."""
    count, day = FIRST_PAGE, None
    while limit > 0:
        page = event_log.read(domain, start=start, end=end, count=int(min(count, limit)))
        if not page:
            return
        day = day or day_of(page[0].id)
        within = _of_day(page, day)
        if within:
            yield within
        if len(within) < len(page):
            return
        limit -= len(page)
        start = f"({page[-1].id}"
        count = next_page([len(entry.body or b"") for entry in page], PAGE)


def _of_day(page: Sequence[Entry], day: date) -> Sequence[Entry]:
    if day_of(page[-1].id) == day:
        return page
    return [entry for entry in page if day_of(entry.id) == day]


def _key_and_type(entry: Entry) -> tuple[str, str]:
    try:
        header = read_header(entry.body or b"")
    except InvalidEvent:
        return "", ""
    return header.key, header.type
