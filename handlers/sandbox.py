"""The records of the simulated payment provider and warehouse: what was done for each order.

Each operation has a key. It is done once, however often it is requested, and an operation that was
cancelled before is never done. So an undo is safe, also if it overtakes what it undoes.

SANDBOX_URL is the URL of their database, SQLite or PostgreSQL. All processes that call a provider
share it, so on several hosts it is PostgreSQL.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, NullPool, create_engine, event, text

URL_VARIABLE = "SANDBOX_URL"
DONE, UNDONE, CANCELLED = "done", "undone", "cancelled"

_CREATE = text(
    "CREATE TABLE IF NOT EXISTS sandbox_operation (kind VARCHAR(40) NOT NULL,"
    " key VARCHAR(200) NOT NULL, state VARCHAR(10) NOT NULL, PRIMARY KEY (kind, key))"
)
# Two sessions of PostgreSQL that create one table at the same time collide.
_LOCK = text("SELECT pg_advisory_lock(20261128)")
_ADD = text("INSERT INTO sandbox_operation VALUES (:kind, :key, :state) ON CONFLICT DO NOTHING")
_UNDO = text(
    f"UPDATE sandbox_operation SET state = '{UNDONE}'"
    f" WHERE kind = :kind AND key = :key AND state = '{DONE}'"
)
_STATE = text("SELECT state FROM sandbox_operation WHERE kind = :kind AND key = :key")
_COUNT = text("SELECT state, count(*) FROM sandbox_operation WHERE kind = :kind GROUP BY state")


class Cancelled(Exception):
    """The operation was cancelled, so it cannot be done."""


class Sandbox:
    """The operations of one kind, such as payments. Every call blocks for the database."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def do(self, key: str) -> None:
        """Do the operation once; a repetition changes nothing. Raises Cancelled."""
        with _connect() as connection:
            connection.execute(_ADD, {"kind": self.kind, "key": key, "state": DONE})
            state = self._state(connection, key)
        if state == CANCELLED:
            raise Cancelled(f"{self.kind} {key} is cancelled")

    def cancel(self, key: str) -> bool:
        """Undo the operation, and prevent it in the future; return whether it was ever done."""
        with _connect() as connection:
            connection.execute(_ADD, {"kind": self.kind, "key": key, "state": CANCELLED})
            connection.execute(_UNDO, {"kind": self.kind, "key": key})
            return self._state(connection, key) == UNDONE

    def is_done(self, key: str) -> bool:
        """Return whether the operation is done and not undone."""
        with _connect() as connection:
            return self._state(connection, key) == DONE

    def counts(self) -> Mapping[str, int]:
        """Return state → number of operations."""
        with _connect() as connection:
            rows = connection.execute(_COUNT, {"kind": self.kind}).all()
        counted = {str(state): int(number) for state, number in rows}
        return {state: counted.get(state, 0) for state in (DONE, UNDONE, CANCELLED)}

    def _state(self, connection: Connection, key: str) -> str | None:
        state = connection.execute(_STATE, {"kind": self.kind, "key": key}).scalar()
        return None if state is None else str(state)


def database_url() -> str:
    """Return SANDBOX_URL; by default, a SQLite database among the temporary files."""
    default = Path(tempfile.gettempdir()) / "celeriac-shop" / "sandbox.sqlite"
    return os.environ.get(URL_VARIABLE) or f"sqlite:///{default}"


def _connect() -> Connection:
    return _open(database_url()).connect()


@cache
def _open(url: str) -> Engine:
    """Return an engine whose table exists. It keeps no connection, so forks may share it."""
    # Each statement is a transaction.
    engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    if engine.dialect.name == "sqlite":
        Path(engine.url.database or "").parent.mkdir(parents=True, exist_ok=True)
        event.listen(engine, "connect", _do_not_sync)
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(_LOCK)
        connection.execute(_CREATE)
    return engine


def _do_not_sync(connection: Any, _: Any) -> None:
    """Do not wait for the disk: a simulation may lose its latest operations at a power failure."""
    connection.execute("PRAGMA busy_timeout=30000")
    connection.execute("PRAGMA synchronous=OFF")
