"""The database of a relay, through SQLAlchemy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.pool import NullPool

from celeriac.errors import ConfigurationError
from celeriac.extra import missing_extra
from celeriac.outbox import statement
from celeriac.outbox.database import Execute
from celeriac.outbox.leader_lock import LeaderLock
from celeriac.outbox.listener import PostgresListener
from celeriac.outbox.write import REMEDY

CONNECT_TIMEOUT = 5  # seconds
BUSY_TIMEOUT = 30  # seconds that SQLite waits for other writers


class SQLDatabase(LeaderLock):
    """See Database. Keeps a connection to PostgreSQL open between passes."""

    def __init__(self, url: str) -> None:
        self.url = readable(url)
        self._engine = _engine(self.url)
        self._connection: Connection | None = None

    @property
    def name(self) -> str:
        return self.url.render_as_string(hide_password=True)

    @property
    def kind(self) -> str:
        return self._engine.dialect.name.replace("mariadb", "mysql")

    @property
    def sqlite_name(self) -> str:
        return self.url.database or ""

    @contextmanager
    def transaction(self) -> Iterator[Execute]:
        if self.kind == "sqlite":
            # Each statement is its own transaction: SQLite refuses a transaction that reads before
            # it writes if another process has written in between.
            with self._engine.connect() as connection:
                yield partial(_execute, connection)
            return
        with self._begin() as connection:
            yield partial(_execute, connection)

    def close(self) -> None:
        connection, self._connection, self._listener = self._connection, None, None
        if connection is not None:
            # Invalidated, because it may be broken.
            connection.invalidate()
            connection.close()

    @contextmanager
    def _begin(self) -> Iterator[Connection]:
        try:
            connection = self._connected()
            with connection.begin():
                yield connection
        except Exception:
            # After any exception, the next pass opens a new connection.
            self.close()
            raise

    def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = self._engine.connect()
            if self.kind == "postgresql":
                self._listener = PostgresListener(self._connection.connection.driver_connection)
                self._connection.execute(text(statement.LISTEN))
                self._connection.commit()
        return self._connection


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
    """Return the URL with an installed blocking driver.

    An application's URL may name a driver for asyncio, or none. Raises ConfigurationError.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        # Without the URL, which may contain a password.
        raise ConfigurationError(
            "CELERIAC_OUTBOX_URL is not a URL of SQLAlchemy. Write "
            "postgresql://user@host/database, sqlite:////path/to/file, or django:default"
        ) from None
    kind, _, driver = parsed.drivername.partition("+")
    if kind in ("postgres", "postgresql") and driver in ("", "asyncpg", "psycopg_async"):
        default_driver = "psycopg" if find_spec("psycopg") else "psycopg2"
        return parsed.set(drivername=f"postgresql+{default_driver}")
    if kind in ("mysql", "mariadb") and driver in ("", "aiomysql", "asyncmy"):
        default_driver = "mysqldb" if find_spec("MySQLdb") else "pymysql"
        return parsed.set(drivername=f"{kind}+{default_driver}")
    if driver == "aiosqlite":
        return parsed.set(drivername="sqlite")
    return parsed


def _engine(url: URL) -> Engine:
    kind = url.get_backend_name()
    if kind == "sqlite":
        options: dict[str, Any] = {"connect_args": {"timeout": BUSY_TIMEOUT}}
        # Otherwise a transaction could read before it holds the lock.
        isolation = "AUTOCOMMIT"
    else:
        options = {"connect_args": {"connect_timeout": CONNECT_TIMEOUT}}
        isolation = "READ COMMITTED"
    try:
        return create_engine(url, poolclass=NullPool, isolation_level=isolation, **options)
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        if kind == "postgresql" and isinstance(error, ModuleNotFoundError):
            what = f"CELERIAC_OUTBOX_URL={url.drivername}://…"
            raise missing_extra(what, "postgres", error) from None
        raise ConfigurationError(
            f"CELERIAC_OUTBOX_URL has the unknown driver {url.drivername}: {error}"
        ) from None
