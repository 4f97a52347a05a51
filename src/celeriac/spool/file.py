"""The file of a spool: events in SQLite, in the order in which they were emitted.

Several processes may write to one file. What was written is there after a SIGKILL of the process;
at a power failure the last moments may be lost (WAL, `synchronous=NORMAL`).
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from celeriac.errors import ConfigurationError, LogFull
from celeriac.event_log import EntryKind, Item
from celeriac.fork import leave_to_parent

PAGE = 4096  # bytes
BUSY_FOR = 10.0  # seconds that one process waits for another's write

_SCHEMA = """
CREATE TABLE IF NOT EXISTS spool (
    id INTEGER PRIMARY KEY AUTOINCREMENT, domain TEXT NOT NULL, body BLOB NOT NULL, at_ms INTEGER,
    kind TEXT NOT NULL, since_ms INTEGER NOT NULL
)
"""


@dataclass(frozen=True, slots=True)
class Spooled:
    """One event that waits. `at_ms` is the time to which it was put off; `kind` and `since_ms` are
    those of EventLog.append."""

    id: int
    domain: str
    body: bytes
    at_ms: int | None
    kind: EntryKind
    since_ms: int


class SpoolFile:
    """Thread-safe and fork-safe; opened, and made, at the first use. Methods block for the disk."""

    def __init__(self, path: str, most_bytes: int) -> None:
        self.path = path
        self._most_pages = max(8, most_bytes // PAGE)
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        # One byte that all processes share: 1 while something may wait.
        self._flag: mmap.mmap | None = None

    def put(self, items: Sequence[Item], at_ms: int | None = None) -> None:
        """Appends events in their order, put off until `at_ms`, all or none. Raises LogFull."""
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
                    f"Redis is away, and the spool {self.path} is full "
                    f"({self._most_pages * PAGE:,} bytes, or the disk); nothing was written. Bring "
                    "Redis back, or raise CELERIAC_SPOOL_MAX_BYTES"
                ) from error

    def waits(self) -> bool:
        """Whether anything is in it. Without a system call where nothing is."""
        if self._flag is not None and not self._flag[0]:
            return False
        with self._opened() as connection:
            if _is_any(connection):
                return True
            # In a transaction, as `put` sets it: the flag is never down where an event waits.
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                waits = _is_any(connection)
                self._mark(waits)
            return waits

    def count(self) -> int:
        """How many events wait."""
        with self._opened() as connection:
            # rows go from the front only, so there is no gap
            first, last = connection.execute("SELECT min(id), max(id) FROM spool").fetchone()
            return 0 if first is None else int(last) - int(first) + 1

    def oldest(self, most: int) -> list[Spooled]:
        with self._opened() as connection:
            found = connection.execute(
                "SELECT id, domain, body, at_ms, kind, since_ms FROM spool ORDER BY id LIMIT ?",
                (most,),
            )
            return [
                Spooled(id, domain, body, at_ms, EntryKind(kind), since)
                for id, domain, body, at_ms, kind, since in found.fetchall()
            ]

    def remove_until(self, last: int) -> None:
        """Removes events up to and with this one."""
        with self._opened() as connection, connection:
            connection.execute("DELETE FROM spool WHERE id <= ?", (last,))

    @contextlib.contextmanager
    def draining(self) -> Iterator[bool]:
        """True for one process at a time, which alone may take from the front."""
        with open(f"{self.path}.lock", "ab", opener=_private) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            try:
                yield True
            finally:
                # Said aloud: a child that was forked meanwhile has the file open too.
                fcntl.flock(file, fcntl.LOCK_UN)

    def begin_anew(self) -> None:
        """In the child of a fork: leaves the parent's connection alone."""
        self._lock = threading.Lock()
        if self._connection is not None:
            # SQLite's connections must not be used, nor closed, by the child of a fork.
            leave_to_parent(self._connection)
            self._connection = None

    def __del__(self) -> None:
        connection: sqlite3.Connection | None = getattr(self, "_connection", None)
        if connection is not None:
            connection.close()

    def _mark(self, waits: bool) -> None:
        assert self._flag is not None
        self._flag[0] = int(waits)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            if self._connection is None:
                self._connection = self._open()
            yield self._connection

    def _open(self) -> sqlite3.Connection:
        try:
            # SQLite makes a new file for all to read; its WAL has the rights of the file.
            os.close(_private(self.path, os.O_RDWR | os.O_CREAT))
            connection = sqlite3.connect(
                self.path, timeout=BUSY_FOR, isolation_level=None, check_same_thread=False
            )
            connection.execute(f"PRAGMA page_size = {PAGE}")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(f"PRAGMA max_page_count = {self._most_pages}")
            connection.execute(_SCHEMA)
            if self._flag is None:
                self._flag = _shared_byte(f"{self.path}.flag")
            if _is_any(connection):  # a power failure may have taken the flag
                self._mark(True)
        except (sqlite3.Error, OSError) as error:
            raise ConfigurationError(
                f"CELERIAC_SPOOL={self.path}: {error}; a file on a local disk, in a folder that "
                "this process may write to"
            ) from error
        return connection


def _is_any(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM spool LIMIT 1").fetchone() is not None


def _private(path: str, flags: int) -> int:
    """Opens a file that its owner alone may read: events are in it, or beside it."""
    descriptor = os.open(path, flags, 0o600)
    with contextlib.suppress(PermissionError):  # it is another user's, who shares it on purpose
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
