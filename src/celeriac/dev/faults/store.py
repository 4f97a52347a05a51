"""Where handlers write what they did: one SQLite file, apart from all that faults are done to.

`run` has a row for every execution, written when it begins. `effect` has a row for every effect:
a handler writes it in one transaction with the row of `guard`, which is unique for each event and
handler, as the documentation asks of a handler whose effect must happen once. Three processes may
share the file; a SIGKILL of any leaves it whole.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import Counter
from pathlib import Path

Delivery = tuple[str, str]  # handler, event id

SCHEMA = """
CREATE TABLE IF NOT EXISTS run (handler TEXT, event TEXT, at REAL);
CREATE TABLE IF NOT EXISTS guard (handler TEXT, event TEXT, PRIMARY KEY (handler, event));
CREATE TABLE IF NOT EXISTS effect (handler TEXT, event TEXT, at REAL);
"""


class Store:
    """One connection for each thread; not to be used on both sides of a fork."""

    def __init__(self, path: str | Path) -> None:
        self._path = str(path)
        self._local = threading.local()
        self._all: list[sqlite3.Connection] = []

    def create(self) -> None:
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.executescript(SCHEMA)

    def began(self, handler: str, event: str) -> None:
        """An execution begins."""
        row = (handler, event, time.monotonic())
        self._connection.execute("INSERT INTO run VALUES (?, ?, ?)", row)

    def effect(self, handler: str, event: str) -> None:
        """The effect, once however often this is called."""
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        guarded = connection.execute("INSERT OR IGNORE INTO guard VALUES (?, ?)", (handler, event))
        if guarded.rowcount:
            row = (handler, event, time.monotonic())
            connection.execute("INSERT INTO effect VALUES (?, ?, ?)", row)
        connection.execute("COMMIT")

    def began_count(self) -> int:
        """How many executions began. Cheap however many there are."""
        return self._one("SELECT coalesce(max(rowid), 0) FROM run")

    def effect_count(self) -> int:
        return self._one("SELECT coalesce(max(rowid), 0) FROM effect")

    def runs(self) -> Counter[Delivery]:
        return self._counted("run")

    def effects(self) -> Counter[Delivery]:
        return self._counted("effect")

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

    def _one(self, query: str) -> int:
        return int(self._connection.execute(query).fetchone()[0])

    def _counted(self, table: str) -> Counter[Delivery]:
        query = f"SELECT handler, event, count(*) FROM {table} GROUP BY handler, event"
        return Counter({(h, e): n for h, e, n in self._connection.execute(query)})
