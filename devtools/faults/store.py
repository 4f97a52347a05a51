"""Where handlers write what they did: one SQLite file, apart from all that faults are done to.

`run` has a row for every execution: the process that ran it, when it began and when it ended, if
it did. `effect` has a row for every effect: a handler writes it in one transaction with the row of
`guard`, which is unique for each event and handler, as the documentation asks of a handler whose
effect must happen once. Times are of the monotonic clock, which all processes of a machine share.
Several processes may share the file; a SIGKILL of any leaves it whole.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

Delivery = tuple[str, str]  # handler, event id

SCHEMA = """
CREATE TABLE IF NOT EXISTS run (
  handler TEXT, event TEXT, pid INTEGER, main INTEGER, began REAL, ended REAL
);
CREATE TABLE IF NOT EXISTS guard (handler TEXT, event TEXT, PRIMARY KEY (handler, event));
CREATE TABLE IF NOT EXISTS effect (handler TEXT, event TEXT, at REAL);
CREATE TABLE IF NOT EXISTS failure (handler TEXT, event TEXT, PRIMARY KEY (handler, event));
"""


@dataclass(frozen=True, slots=True)
class Run:
    """One execution. `ended` is None where the handler was cut short or raised.

    `pid` is the process that ran it, `main` that one's parent at the time.
    """

    delivery: Delivery
    pid: int
    main: int
    began: float
    ended: float | None


class Store:
    """One connection for each thread; not to be used on both sides of a fork."""

    def __init__(self, path: str | Path) -> None:
        self._path = str(path)
        self._local = threading.local()
        self._all: list[sqlite3.Connection] = []

    def create(self) -> None:
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.executescript(SCHEMA)

    def began(self, handler: str, event: str) -> int:
        """An execution begins; returns its number."""
        row = (handler, event, os.getpid(), os.getppid(), time.monotonic(), None)
        made = self._connection.execute("INSERT INTO run VALUES (?, ?, ?, ?, ?, ?)", row)
        return int(made.lastrowid or 0)

    def ended(self, run: int) -> None:
        """The handler of an execution has done its work, and returns."""
        self._connection.execute(
            "UPDATE run SET ended = ? WHERE rowid = ?", (time.monotonic(), run)
        )

    def fails_first(self, handler: str, event: str) -> bool:
        """Whether this is the first failure of an execution that fails once."""
        statement = "INSERT OR IGNORE INTO failure VALUES (?, ?)"
        return self._connection.execute(statement, (handler, event)).rowcount > 0

    def effect(self, handler: str, event: str) -> None:
        """The effect, once however often this is called."""
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        guarded = connection.execute("INSERT OR IGNORE INTO guard VALUES (?, ?)", (handler, event))
        if guarded.rowcount:
            row = (handler, event, time.monotonic())
            connection.execute("INSERT INTO effect VALUES (?, ?, ?)", row)
        connection.execute("COMMIT")

    def is_free(self, within: float = 0.2) -> bool:
        """Whether one can write; False where a process is in the middle of it for that long."""
        connection = sqlite3.connect(self._path, timeout=within, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        except sqlite3.OperationalError:
            return False
        finally:
            connection.close()
        return True

    def began_count(self) -> int:
        """How many executions began. Cheap however many there are."""
        return self._value("SELECT coalesce(max(rowid), 0) FROM run")

    def latest_main(self) -> int:
        """The parent of the process in which the last execution began; 0 without any."""
        return self._value("SELECT coalesce((SELECT main FROM run ORDER BY rowid DESC LIMIT 1), 0)")

    def effect_count(self) -> int:
        return self._value("SELECT coalesce(max(rowid), 0) FROM effect")

    def runs(self) -> list[Run]:
        """All executions, in the order in which they began."""
        query = "SELECT handler, event, pid, main, began, ended FROM run ORDER BY began"
        return [Run((h, e), *rest) for h, e, *rest in self._connection.execute(query)]

    def effects(self) -> Counter[Delivery]:
        query = "SELECT handler, event, count(*) FROM effect GROUP BY handler, event"
        return Counter({(h, e): n for h, e, n in self._connection.execute(query)})

    def effect_times(self) -> dict[Delivery, float]:
        """When each delivery had its first effect."""
        query = "SELECT handler, event, min(at) FROM effect GROUP BY handler, event"
        return {(h, e): at for h, e, at in self._connection.execute(query)}

    def close(self) -> None:
        for connection in self._all:
            connection.close()

    @property
    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(
                self._path, timeout=30, isolation_level=None, check_same_thread=False
            )
            # What it holds need not outlive the machine.
            connection.execute("PRAGMA synchronous=OFF")
            self._local.connection = connection
            self._all.append(connection)
        return connection

    def _value(self, query: str) -> int:
        return int(self._connection.execute(query).fetchone()[0])
