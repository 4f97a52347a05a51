"""The file of a spool: events in SQLite, in the order of their emits.

Several processes may write to one file. Written events survive a SIGKILL of the process; a power
failure may lose the most recent ones (WAL, `synchronous=NORMAL`).
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import sqlite3
import threading
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from celeriac.errors import ConfigurationError, LogFull
from celeriac.event_log import EntryKind, Item
from celeriac.fork import leave_to_parent

PAGE = 4096  # bytes
BUSY_TIMEOUT = 10.0  # seconds to wait for the write of another process

_SCHEMA = """
CREATE TABLE IF NOT EXISTS spool (
    id INTEGER PRIMARY KEY AUTOINCREMENT, domain TEXT NOT NULL, body BLOB NOT NULL, at_ms INTEGER,
    kind TEXT NOT NULL, since_ms INTEGER NOT NULL
)
"""


@dataclass(frozen=True, slots=True)
class Spooled:
    """A spooled event. `at_ms` is the time of a delayed event; `kind` and `since_ms` are those of
    EventLog.append."""

    id: int
    domain: str
    body: bytes
    at_ms: int | None
    kind: EntryKind
    since_ms: int


class SpoolFile:
    """Thread-safe and fork-safe; created at the first use. Methods block for the disk."""

    def __init__(self, path: str, max_bytes: int) -> None:
        self.path = path
        self._max_pages = max(8, max_bytes // PAGE)
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        # One byte that all processes share: 1 while the spool may have events.
        self._flag: mmap.mmap | None = None

    def put(self, items: Sequence[Item], at_ms: int | None = None) -> None:
        """Append all events in order, delayed until `at_ms`, or none. Raises LogFull."""
        rows = [(domain, body, at_ms, kind.value, since) for domain, body, kind, since in items]
        with self._opened() as connection:
            try:
                with connection:
                    connection.execute("BEGIN IMMEDIATE")
                    self._mark(True)
                    connection.executemany(
                        "INSERT INTO spool (domain, body, at_ms, kind, since_ms)"
                        " VALUES (?, ?, ?, ?, ?)",
                        rows,
                    )
            except sqlite3.OperationalError as error:
                if "full" not in str(error):
                    raise
                raise LogFull(
                    f"Redis is unreachable, and the spool {self.path} is full "
                    f"({self._max_pages * PAGE:,} bytes, or the disk); nothing was written. "
                    "Restore Redis, or raise CELERIAC_SPOOL_MAX_BYTES"
                ) from error

    def has_events(self) -> bool:
        """Return whether the spool has events. An empty spool costs no system call."""
        if self._flag is not None and not self._flag[0]:
            return False
        with self._opened() as connection:
            if _has_rows(connection):
                return True
            # In a transaction, like `put`, so that the flag is never 0 while there are events.
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                has_events = _has_rows(connection)
                self._mark(has_events)
            return has_events

    def count(self) -> int:
        """Return the number of events."""
        with self._opened() as connection:
            return int(connection.execute("SELECT count(*) FROM spool").fetchone()[0])

    def oldest(self, max_events: int, excluded: Collection[str] = ()) -> list[Spooled]:
        """Return the oldest events in order, without those of the excluded domains."""
        with self._opened() as connection:
            rows = connection.execute(
                "SELECT id, domain, body, at_ms, kind, since_ms FROM spool "
                f"WHERE domain NOT IN ({_listed(excluded)}) ORDER BY id LIMIT ?",
                (*excluded, max_events),
            )
            return [
                Spooled(id, domain, body, at_ms, EntryKind(kind), since)
                for id, domain, body, at_ms, kind, since in rows.fetchall()
            ]

    def remove(self, events: Sequence[Spooled]) -> None:
        """Remove the events."""
        ids = [event.id for event in events]
        with self._opened() as connection, connection:
            connection.execute(f"DELETE FROM spool WHERE id IN ({_listed(ids)})", ids)

    @contextlib.contextmanager
    def draining(self) -> Iterator[bool]:
        """Hold the lock for draining; enters with False if another process holds it."""
        with open(f"{self.path}.lock", "ab", opener=_private) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            try:
                yield True
            finally:
                # Explicit, because a forked child may have the file open, too.
                fcntl.flock(file, fcntl.LOCK_UN)

    def reset_after_fork(self) -> None:
        """Leave the connection to the parent, in a forked child."""
        self._lock = threading.Lock()
        if self._connection is not None:
            # A forked child must neither use nor close a connection of SQLite.
            leave_to_parent(self._connection)
            self._connection = None

    def __del__(self) -> None:
        connection: sqlite3.Connection | None = getattr(self, "_connection", None)
        if connection is not None:
            connection.close()

    def _mark(self, has_events: bool) -> None:
        assert self._flag is not None
        self._flag[0] = int(has_events)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            if self._connection is None:
                self._connection = self._open()
            yield self._connection

    def _open(self) -> sqlite3.Connection:
        try:
            # SQLite would create the file readable by all; its WAL inherits the permissions.
            os.close(_private(self.path, os.O_RDWR | os.O_CREAT))
            connection = sqlite3.connect(
                self.path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
            )
            connection.execute(f"PRAGMA page_size = {PAGE}")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(f"PRAGMA max_page_count = {self._max_pages}")
            connection.execute(_SCHEMA)
            if self._flag is None:
                self._flag = _shared_byte(f"{self.path}.flag")
            if _has_rows(connection):  # a power failure may have lost the flag
                self._mark(True)
        except (sqlite3.Error, OSError) as error:
            raise ConfigurationError(
                f"CELERIAC_SPOOL={self.path}: {error}. Give a file on a local disk, in a folder "
                "that this process can write to"
            ) from error
        return connection


def _listed(values: Collection[object]) -> str:
    return ", ".join("?" for _ in values)


def _has_rows(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM spool LIMIT 1").fetchone() is not None


def _private(path: str, flags: int) -> int:
    """Open a file that only its owner can read, because it protects events."""
    descriptor = os.open(path, flags, 0o600)
    with contextlib.suppress(PermissionError):  # the file of another user, who shares it
        os.fchmod(descriptor, 0o600)
    return descriptor


def _shared_byte(path: str) -> mmap.mmap:
    descriptor = _private(path, os.O_RDWR | os.O_CREAT)
    try:
        if os.fstat(descriptor).st_size < 1:
            os.ftruncate(descriptor, 1)
        return mmap.mmap(descriptor, 1)
    finally:
        os.close(descriptor)
