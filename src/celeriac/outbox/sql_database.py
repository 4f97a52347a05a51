"""The database of a relay, through SQLAlchemy."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.pool import NullPool

from celeriac.errors import ConfigurationError
from celeriac.outbox import statement
from celeriac.outbox.database import POLL, POLL_WOKEN, Execute
from celeriac.outbox.lock import file_lock
from celeriac.outbox.notified import Doorbell
from celeriac.outbox.write import REMEDY

CONNECT_WITHIN = 5  # seconds
BUSY_FOR = 30  # seconds that SQLite waits for other writers


class SQLDatabase:
    """See Database. Keeps a connection open between its turns, but not to SQLite."""

    def __init__(self, url: str) -> None:
        self.url = readable(url)
        self._engine = _engine(self.url)
        self._kept: Connection | None = None
        self._doorbell: Doorbell | None = None

    @property
    def name(self) -> str:
        return self.url.render_as_string(hide_password=True)

    @property
    def locks_rows(self) -> bool:
        return self._engine.dialect.name not in ("postgresql", "sqlite")

    @property
    def poll(self) -> float:
        return POLL_WOKEN if self._doorbell is not None and self._doorbell.works else POLL

    @contextmanager
    def turn(self) -> Iterator[Execute | None]:
        if self._is_sqlite:
            with file_lock(self._file) as free:
                if not free:
                    yield None
                    return
                with self.ask() as execute:
                    yield execute
            return
        with self._transaction() as connection:
            free = True
            if self._engine.dialect.name == "postgresql":
                free = bool(connection.execute(text(statement.LOCK)).scalar())
            yield partial(_execute, connection) if free else None

    @contextmanager
    def ask(self) -> Iterator[Execute]:
        if self._is_sqlite:
            # Each statement for itself: a transaction that read before it writes is refused as
            # soon as anybody else has written.
            with self._engine.connect() as connection:
                yield partial(_execute, connection)
            return
        with self._transaction() as connection:
            yield partial(_execute, connection)

    def wait(self, seconds: float) -> None:
        if self._doorbell is None:
            time.sleep(seconds)
            return
        try:
            self._doorbell.wait(seconds)
        except Exception:
            self.close()
            raise

    def close(self) -> None:
        kept, self._kept, self._doorbell = self._kept, None, None
        if kept is not None:
            # It may be broken, and is never used again.
            kept.invalidate()
            kept.close()

    @property
    def _is_sqlite(self) -> bool:
        return self._engine.dialect.name == "sqlite"

    @property
    def _file(self) -> str:
        name = self.url.database or ""
        if name == ":memory:" or "mode=memory" in name:
            return ""
        return name.removeprefix("file:").partition("?")[0]

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        try:
            connection = self._connected()
            with connection.begin():
                yield connection
        except Exception:
            # Whatever it was: the next turn begins on a connection that is known to be good.
            self.close()
            raise

    def _connected(self) -> Connection:
        if self._kept is None:
            self._kept = self._engine.connect()
            if self._engine.dialect.name == "postgresql":
                self._doorbell = Doorbell(self._kept.connection.driver_connection)
                self._kept.execute(text(statement.LISTEN))
                self._kept.commit()
        return self._kept


def _execute(
    connection: Connection, sql: str, parameters: Mapping[str, Any]
) -> Sequence[Sequence[Any]]:
    try:
        result = connection.execute(text(sql), dict(parameters))
    except DBAPIError as error:
        explained = statement.explained(error, REMEDY)
        if explained is error:
            raise
        raise explained from error
    return result.all() if result.returns_rows else ()


def readable(url: str) -> URL:
    """The URL for a driver that blocks and is installed: an application's own may name one for
    asyncio, or none. Raises ConfigurationError."""
    try:
        found = make_url(url)
    except ArgumentError:
        # Not the URL itself: it may hold a password.
        raise ConfigurationError(
            "CELERIAC_OUTBOX_URL is no URL of SQLAlchemy; write postgresql://user@host/database, "
            "sqlite:////path/to/file, or django:default"
        ) from None
    kind, _, driver = found.drivername.partition("+")
    if kind in ("postgres", "postgresql") and driver in ("", "asyncpg", "psycopg_async"):
        usual = "psycopg" if find_spec("psycopg") else "psycopg2"
        return found.set(drivername=f"postgresql+{usual}")
    if driver in ("aiosqlite", "aiomysql", "asyncmy"):
        return found.set(drivername="sqlite" if kind == "sqlite" else f"{kind}+pymysql")
    return found


def _engine(url: URL) -> Engine:
    kind = url.get_backend_name()
    if kind == "sqlite":
        options: dict[str, Any] = {"connect_args": {"timeout": BUSY_FOR}}
        # Of two transactions, the second one's lock must come before what it sees.
        isolation = "AUTOCOMMIT"
    else:
        options = {"connect_args": {"connect_timeout": CONNECT_WITHIN}}
        isolation = "READ COMMITTED"
    try:
        return create_engine(url, poolclass=NullPool, isolation_level=isolation, **options)
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        raise ConfigurationError(
            f"CELERIAC_OUTBOX_URL begins with {url.drivername}: {error}"
        ) from None
