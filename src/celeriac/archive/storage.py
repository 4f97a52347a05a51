"""The files of an archive in an object store or on a disk. Needs obstore.

A file is named after its first entry and created only if no file has that name. Each file begins
behind the entry at which the previous one ended, so a repetition cannot store an event twice.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import msgspec
import obstore
import pyarrow as pa
import pyarrow.parquet as pq
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import from_url

from celeriac.archive.row import SCHEMA, ArchivedEvent, events_of
from celeriac.errors import ArchiveError, ConfigurationError
from celeriac.event_log import entry_key, entry_time_ms, is_entry

if TYPE_CHECKING:
    from obstore.store import ObjectStore, RetryConfig

SCHEMES = ("s3", "gs", "az", "file")
LAST = b"celeriac.last"
READ_ROWS = 500
MAX_TIME_MS = 253_402_300_799_000  # the year 9999
# Of requests to object stores. The callers retry too: the archiver logs that it waits, and a replay
# can be repeated.
RETRY: RetryConfig = {"max_retries": 3, "retry_timeout": timedelta(seconds=15)}


class ArchiveFile(msgspec.Struct, frozen=True):
    """A file of an archive: the events of one domain and one day of UTC from the entry `first`."""

    domain: str
    first: str

    @property
    def path(self) -> str:
        return f"{_folder(self.domain, day_of(self.first))}/part-{self.first}.parquet"


def files_within(files: Sequence[ArchiveFile], since_ms: int, until_ms: int) -> list[ArchiveFile]:
    """Return the files that can have entries of this time. `files` are of one domain, in log
    order."""
    firsts_ms = [entry_time_ms(file.first) for file in files]
    # A file ends before the next one begins.
    ends_ms = [*(min(ms, until_ms) for ms in firsts_ms[1:]), until_ms]
    return [
        file
        for file, first_ms, end_ms in zip(files, firsts_ms, ends_ms, strict=False)
        if first_ms <= until_ms and end_ms >= since_ms
    ]


def day_of(entry: str) -> date:
    """Return the day, in UTC, on which the entry was appended."""
    return datetime.fromtimestamp(entry_time_ms(entry) / 1000, UTC).date()


class Storage:
    """An archive at a URL: `s3://bucket/path`, `gs://…`, `az://account/container/path` or
    `file:///path`.

    Credentials come from the variables of the provider: `AWS_…`, `GOOGLE_…`, `AZURE_…`. Methods
    block for round trips, and raise ArchiveError if the store fails.

    `creates` makes a missing folder of a disk; without it, ArchiveError is raised.

    Raises ConfigurationError for an invalid URL.
    """

    def __init__(self, url: str, *, creates: bool = True) -> None:
        self.url = url
        parts = urlsplit(url)
        # In file://a/b, `a` is a host, and /b another folder than the one that is meant.
        is_relative = parts.scheme == "file" and (parts.netloc or not parts.path.startswith("/"))
        is_empty = not (parts.netloc or parts.path.strip("/"))
        if parts.scheme not in SCHEMES or is_relative or is_empty:
            raise ConfigurationError(
                f"archive {url!r} is not a URL of an archive. Write s3://bucket/path, "
                "gs://bucket/path, az://account/container/path or file:///path"
            )
        # Only a disk needs it: object stores answer after an object is durable.
        self._directory = Path(unquote(parts.path)) if parts.scheme == "file" else None
        with self._failing("opened"):
            if self._directory is not None and creates:
                self._directory.mkdir(parents=True, exist_ok=True)
            elif self._directory is not None:
                self._directory.stat()
            # A disk takes no options; options of the client would replace those of the variables.
            options: Any = {} if self._directory is not None else {"retry_config": RETRY}
            self._store: ObjectStore = from_url(url, **options)
        self._lasts: dict[str, str] = {}

    def create(self, file: ArchiveFile, content: bytes) -> bool:
        """Store a file durably; return False if one with its first entry exists, which stays."""
        with self._failing("written"):
            try:
                obstore.put(self._store, file.path, content, mode="create")
            except AlreadyExistsError:
                return False
            if self._directory is not None:
                _sync(self._directory, file.path)
        return True

    def covered_until(self, domain: str, entry: str) -> str | None:
        """Return the last entry of the file that contains `entry`; None if none does."""
        firsts = self.firsts(domain, day_of(entry))
        at = bisect_right(firsts, entry_key(entry), key=entry_key)
        if at == 0:
            return None
        last = self._last_of(ArchiveFile(domain, firsts[at - 1]))
        return last if entry_key(last) >= entry_key(entry) else None

    def firsts(self, domain: str, day: date) -> list[str]:
        """Return the first entry of each file of a domain and a day, in log order."""
        with self._failing("listed"):
            names = [
                item["path"].rpartition("/")[2]
                for page in obstore.list(self._store, f"{_folder(domain, day)}/")
                for item in page
            ]
        entries = (name.removeprefix("part-").removesuffix(".parquet") for name in names)
        return sorted(filter(is_entry, entries), key=entry_key)

    def domains(self) -> list[str]:
        """Return the domains that have files."""
        return sorted(self._folders(None, "domain="))

    def days(self, domain: str) -> list[date]:
        """Return the days on which the domain has files, in order."""
        return sorted(filter(None, map(_date, self._folders(f"domain={domain}", "date="))))

    def files(self, domain: str, since_ms: int, until_ms: int) -> list[ArchiveFile]:
        """Return the files of a domain that can have entries of this time, in log order."""
        first, last = day_of(f"{since_ms}-0"), day_of(f"{until_ms}-0")
        days = [day for day in self.days(domain) if first <= day <= last]
        files = [ArchiveFile(domain, entry) for day in days for entry in self.firsts(domain, day)]
        return files_within(files, since_ms, until_ms)

    def read(self, file: ArchiveFile) -> Iterator[list[ArchivedEvent]]:
        """Yield the events of a file in log order, in lists of at most READ_ROWS.

        Holds the compressed file and one list in memory.
        """
        for batch in self.batches(file):
            yield list(events_of(batch))

    def batches(
        self,
        file: ArchiveFile,
        columns: Sequence[str] = SCHEMA.names,
        *,
        rows: int = READ_ROWS,
        since_ms: int = 0,
        until_ms: int = MAX_TIME_MS,
    ) -> Iterator[pa.RecordBatch]:
        """Yield these columns of a file in log order, at most `rows` at a time.

        Row groups without entries of this time are not decoded. Holds the compressed file and one
        row group in memory.
        """
        parquet = self._open(file)
        groups = [
            group
            for group in range(parquet.num_row_groups)
            if _overlaps(parquet.metadata.row_group(group), since_ms, until_ms)
        ]
        batches = parquet.iter_batches(rows, row_groups=groups, columns=list(columns))
        while True:
            try:
                batch = next(batches, None)
            except (pa.ArrowException, OSError) as error:
                raise self._damaged(file, error) from None
            if batch is None:
                return
            yield batch

    def _last_of(self, file: ArchiveFile) -> str:
        if file.path not in self._lasts:
            last = (self._open(file).metadata.metadata or {}).get(LAST, b"").decode()
            if not is_entry(last):
                raise self._damaged(file, f"it has no {LAST.decode()}")
            self._lasts = {file.path: last}
        return self._lasts[file.path]

    def _open(self, file: ArchiveFile) -> pq.ParquetFile:
        with self._failing("read"):
            content = obstore.get(self._store, file.path).bytes()
        try:
            parquet = pq.ParquetFile(pa.BufferReader(bytes(content)))
        except (pa.ArrowException, OSError) as error:
            raise self._damaged(file, error) from None
        schema = parquet.schema_arrow
        for at, field in enumerate(SCHEMA):
            if schema.get_field_index(field.name) != at or schema.field(at).type != field.type:
                raise self._damaged(file, f"it has no column {field.name} of {field.type} at {at}")
        return parquet

    def _damaged(self, file: ArchiveFile, reason: object) -> ArchiveError:
        text = str(reason).strip().partition("\n")[0]
        return ArchiveError(
            f"{self.url}/{file.path} is not a file of an archive: {text}. Restore it, or move it "
            "to another place"
        )

    def _folders(self, below: str | None, prefix: str) -> Iterator[str]:
        with self._failing("listed"):
            listed = obstore.list_with_delimiter(self._store, below)
        for path in listed["common_prefixes"]:
            name = path.rstrip("/").rpartition("/")[2]
            if name.startswith(prefix):
                yield unquote(name.removeprefix(prefix))

    @contextmanager
    def _failing(self, done: str) -> Iterator[None]:
        try:
            yield
        except (BaseError, OSError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise ArchiveError(
                f"the archive {self.url} cannot be {done}: {reason}. Check the URL, the "
                "credentials and their permissions"
            ) from None


def _date(name: str) -> date | None:
    """Return the date in the name of a folder; None for a folder of another kind."""
    try:
        return date.fromisoformat(name)
    except ValueError:
        return None


def _overlaps(group: pq.RowGroupMetaData, since_ms: int, until_ms: int) -> bool:
    """Return whether the row group can have entries of this time."""
    statistics = group.column(SCHEMA.names.index("appended")).statistics
    if statistics is None or not statistics.has_min_max:
        return True
    first, last = (int(time.timestamp() * 1000) for time in (statistics.min, statistics.max))
    return first <= until_ms and last >= since_ms


def _folder(domain: str, day: date) -> str:
    return f"domain={domain}/date={day.isoformat()}"


def _sync(directory: Path, path: str) -> None:
    """Make a new file durable, with the folders that it may have created."""
    target = directory / path
    for each in (target, *target.parents):
        descriptor = os.open(each, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if each == directory:
            return
