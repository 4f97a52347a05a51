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
from celeriac.outbox.listener import Doorbell
from celeriac.outbox.write import REMEDY

CONNECT_WITHIN = 5  # seconds
BUSY_FOR = 30  # seconds that SQLite waits for other writers


class SQLDatabase(LeaderLock):
    """See Database. Keeps a connection to PostgreSQL open between its turns."""

    def __init__(self, url: str) -> None:
        self.url = readable(url)
        self._engine = _engine(self.url)
        self._kept: Connection | None = None

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
    def ask(self) -> Iterator[Execute]:
        if self.kind == "sqlite":
            # Each statement for itself: a transaction that read before it writes is refused as
            # soon as anybody else has written.
            with self._engine.connect() as connection:
                yield partial(_execute, connection)
            return
        with self._transaction() as connection:
            yield partial(_execute, connection)

    def close(self) -> None:
        kept, self._kept, self._doorbell = self._kept, None, None
        if kept is not None:
            # It may be broken, and is never used again.
            kept.invalidate()
            kept.close()

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
            if self.kind == "postgresql":
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
    if kind in ("mysql", "mariadb") and driver in ("", "aiomysql", "asyncmy"):
        usual = "mysqldb" if find_spec("MySQLdb") else "pymysql"
        return found.set(drivername=f"{kind}+{usual}")
    if driver == "aiosqlite":
        return found.set(drivername="sqlite")
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
        if kind == "postgresql" and isinstance(error, ModuleNotFoundError):
            what = f"CELERIAC_OUTBOX_URL={url.drivername}://…"
            raise missing_extra(what, "postgres", error) from None
        raise ConfigurationError(
            f"CELERIAC_OUTBOX_URL begins with {url.drivername}: {error}"
        ) from None
