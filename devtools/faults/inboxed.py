"""Effects that only the inbox keeps from doubling: rows without any key, written by the handler.

They lie in the database of the inbox, SQLite or PostgreSQL, apart from all that faults are done to.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import OperationalError

from celeriac.inbox import create_inbox
from devtools.faults.store import Delivery

TABLE = "CREATE TABLE effect (handler TEXT, event TEXT, at DOUBLE PRECISION)"
POSTGRESQL = "postgresql+psycopg://postgres@127.0.0.1:5432/postgres"


def open_engine(url: str) -> Engine:
    """Return an engine that is not connected yet."""
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
                self._administer("DROP DATABASE IF EXISTS", " WITH (FORCE)")
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
        engine = create_engine(POSTGRESQL, isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                connection.execute(text(f'{what} "{make_url(self.url).database}"{how}'))
        finally:
            engine.dispose()
