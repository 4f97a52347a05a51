"""The database of a relay through SQLAlchemy: its engine, and one connection between passes."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.exc import NoSuchModuleError, OperationalError
from sqlalchemy.pool import NullPool

from celeriac import ConfigurationError
from celeriac.outbox import sql_database as module
from celeriac.outbox.sql_database import SQLDatabase


class Served(SQLDatabase):
    """SQLite in memory, used as a database server."""

    @property
    def kind(self) -> str:
        return "mysql"

    def __init__(self) -> None:
        super().__init__("sqlite://")

    def run(self, sql: str = "SELECT 1") -> Any:
        with self.transaction() as execute:
            return execute(sql, {})


def test_a_connection_stays_open_until_something_fails() -> None:
    database, invalidated = Served(), list[object]()
    event.listen(database._engine, "invalidate", lambda *given: invalidated.append(given))
    assert [(1,)] == database.run()
    first = database._connection
    assert () == database.run("CREATE TABLE t (n INTEGER)")
    assert first is not None
    assert first is database._connection
    with pytest.raises(OperationalError):
        database.run("SELECT * FROM nowhere")
    assert database._connection is None
    assert (True, 1) == (first.closed, len(invalidated)), "a rollback could wait for the server"
    assert [(1,)] == database.run()
    assert database._connection is not first
    with pytest.raises(ValueError), database.transaction():
        raise ValueError
    assert database._connection is None
    database.close()


def test_a_missing_table_is_an_error_with_the_remedy() -> None:
    for database in (Served(), SQLDatabase("sqlite://")):
        with (
            pytest.raises(ConfigurationError, match=r"call celeriac\.outbox\.create_outbox"),
            database.transaction() as execute,
        ):
            execute("SELECT * FROM celeriac_outbox", {})


def test_it_has_a_name_without_the_password() -> None:
    database = SQLDatabase("postgresql+psycopg://ann:secret@host/shop")
    assert ("postgresql+psycopg://ann:***@host/shop", "postgresql") == (
        database.name, database.kind,
    )  # fmt: skip
    assert "mysql" == SQLDatabase("mariadb+pymysql://host/shop").kind
    assert ("/a/b.sqlite", "") == (
        SQLDatabase("sqlite:////a/b.sqlite").sqlite_name, SQLDatabase("sqlite://").sqlite_name,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("url", "arguments", "isolation"),
    [
        ("sqlite:///f", {"timeout": module.BUSY_TIMEOUT}, "AUTOCOMMIT"),
        ("mysql+pymysql://h/d", {"connect_timeout": module.CONNECT_TIMEOUT}, "READ COMMITTED"),
        (
            "postgresql+psycopg://h/d",
            {"connect_timeout": module.CONNECT_TIMEOUT},
            "READ COMMITTED",
        ),
    ],
)
def test_the_options_of_its_engine(
    monkeypatch: pytest.MonkeyPatch, url: str, arguments: dict[str, Any], isolation: str
) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(module, "create_engine", lambda url, **options: given.update(options))
    SQLDatabase(url)
    assert {
        "poolclass": NullPool, "isolation_level": isolation, "connect_args": arguments,
    } == given  # fmt: skip


@pytest.mark.parametrize(
    ("url", "error", "message"),
    [
        ("postgresql+psycopg://h/d", ModuleNotFoundError("psycopg"), r"celeriac\[postgres\]"),
        ("postgresql+other://h/d", NoSuchModuleError("other"), r"unknown driver postgresql\+other"),
        ("mysql+mysqldb://h/d", ModuleNotFoundError("MySQLdb"), r"unknown driver mysql\+mysqldb"),
    ],
)
def test_a_missing_driver_is_an_error_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, url: str, error: Exception, message: str
) -> None:
    def fail(url: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(module, "create_engine", fail)
    with pytest.raises(ConfigurationError, match=message):
        SQLDatabase(url)
