"""Effects that only the inbox keeps from doubling: rows without any key, written by the handler.

They lie in the database of the inbox, apart from all that faults are done to.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import OperationalError

from celeriac.inbox import create_inbox
from devtools.faults.store import Delivery

TABLE = "CREATE TABLE effect (handler TEXT, event TEXT, at DOUBLE PRECISION)"
SQLITE, POSTGRESQL, MARIADB = "SQLite", "PostgreSQL", "MariaDB"
# The database of each server from which others are created.
SERVERS = {
    POSTGRESQL: "postgresql+psycopg://postgres@127.0.0.1:5432/postgres",
    MARIADB: "mysql+pymysql://root@127.0.0.1:3306/mysql",
}


def new_url(database: str, directory: Path) -> str:
    """Return the URL of a database that does not exist yet."""
    if database == SQLITE:
        return f"sqlite:///{directory / 'effects.sqlite'}"
    name = f"celeriac_faults_{os.getpid()}_{time.monotonic_ns()}"
    return f"{SERVERS[database].rpartition('/')[0]}/{name}"


def open_engine(url: str) -> Engine:
    """Return an engine that is not connected yet."""
    if url.startswith("mysql"):
        return create_engine(url, pool_size=2)
    if not url.startswith("sqlite"):
        # What it holds need not outlive the machine.
        options = {"options": "-c synchronous_commit=off"}
        return create_engine(url, pool_size=2, connect_args=options)
    engine = create_engine(url, connect_args={"timeout": 30})

    def set_up(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA synchronous=OFF")

    event.listen(engine, "connect", set_up)
    return engine


def write_effect(connection: Connection, handler: str, event_id: str) -> None:
    """A row for this run of the handler, however often there was one before."""
    row = {"handler": handler, "event": event_id, "at": time.monotonic()}
    connection.execute(text("INSERT INTO effect VALUES (:handler, :event, :at)"), row)


class InboxedEffects:
    """A database with the inbox and the effects. `create` makes it, `drop` removes it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._engine = open_engine(url)

    @property
    def engine(self) -> Engine:
        """Connections for the judge, past all faults."""
        return self._engine

    def create(self) -> None:
        """Raises OperationalError where the server is away."""
        if self._on_server:
            self._administer("CREATE DATABASE")
        create_inbox(self._engine)
        with self._engine.begin() as connection:
            if not self._on_server:
                connection.execute(text("PRAGMA journal_mode=WAL"))
            connection.execute(text(TABLE))

    def drop(self) -> None:
        self._engine.dispose()
        if self._on_server:
            try:
                force = " WITH (FORCE)" if self.url.startswith("postgresql") else ""
                self._administer("DROP DATABASE IF EXISTS", force)
            except OperationalError:
                return

    def count(self) -> int:
        with self._engine.connect() as connection:
            return int(connection.execute(text("SELECT count(*) FROM effect")).scalar_one())

    def effects(self) -> Counter[Delivery]:
        query = text("SELECT handler, event, count(*) FROM effect GROUP BY handler, event")
        with self._engine.connect() as connection:
            return Counter({(h, e): n for h, e, n in connection.execute(query)})

    def times(self) -> dict[Delivery, float]:
        """When each delivery had its first effect."""
        query = text("SELECT handler, event, min(at) FROM effect GROUP BY handler, event")
        with self._engine.connect() as connection:
            return {(h, e): at for h, e, at in connection.execute(query)}

    @property
    def _on_server(self) -> bool:
        return not self.url.startswith("sqlite")

    def _administer(self, what: str, how: str = "") -> None:
        kind = POSTGRESQL if self.url.startswith("postgresql") else MARIADB
        engine = create_engine(SERVERS[kind], isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                # Letters, digits and underscores: no database needs quotes around it.
                connection.execute(text(f"{what} {make_url(self.url).database}{how}"))
        finally:
            engine.dispose()
