"""The outbox on connections of Django, without a site. Sites run in contrib/django."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import DatabaseError, InterfaceError

from celeriac import ConfigurationError
from celeriac.django_sql import for_django
from celeriac.outbox import django_database as module
from celeriac.outbox import statement
from celeriac.outbox.database import POLL, POLL_WOKEN
from celeriac.outbox.django_database import DjangoDatabase, executing, writer
from celeriac.process.django_store import django_store
from tests.unit.outbox.django_connection import DjangoConnection

INSERT, NOTIFYING = for_django(statement.INSERT), for_django(statement.INSERT_AND_NOTIFY)
A, B = {"event_id": "a"}, {"event_id": "b"}


@pytest.mark.parametrize(
    ("vendor", "rows", "executed"),
    [
        ("postgresql", [A], [(NOTIFYING, A)]),
        ("postgresql", [A, B], [(INSERT, A, B), statement.NOTIFY]),
        ("mysql", [A], [(INSERT, A)]),
        ("sqlite", [A, B], [(INSERT, A, B)]),
    ],
)
def test_rows_are_inserted_and_wake_the_relays_of_postgresql(
    vendor: str, rows: list[Any], executed: list[Any]
) -> None:
    connection = DjangoConnection(vendor)
    writer(connection)(rows)
    assert executed == connection.executed


@pytest.mark.parametrize("call", ["write", "execute", "store"])
@pytest.mark.parametrize(
    ("message", "remedy"),
    [
        ("no such table: {}", "the table {} is missing. Create it: python manage.py migrate"),
        ("{} is locked", None),
    ],
)
def test_a_missing_table_is_an_error_with_the_remedy(
    call: str, message: str, remedy: str | None
) -> None:
    connection = DjangoConnection("postgresql")
    table = "celeriac_process" if call == "store" else "celeriac_outbox"
    connection.error = DatabaseError(message.format(table))
    with pytest.raises((ConfigurationError, DatabaseError)) as raised:
        if call == "write":
            writer(connection)([A])
        elif call == "execute":
            executing(connection)("SELECT 1", {})
        else:
            django_store(connection).lock("a", "k", insert=False, now_ms=1)
    if remedy is None:
        assert connection.error is raised.value
    else:
        assert remedy.format(table) in str(raised.value)


def test_a_statement_returns_its_rows_if_it_has_any() -> None:
    execute = executing(DjangoConnection("mysql", [(1,), (2,)]))
    assert [(1,), (2,)] == execute("SELECT :n", {"n": 1})
    connection = DjangoConnection("mysql")
    assert [] == executing(connection)("DELETE FROM t WHERE id = :n", {"n": 1})
    assert [("DELETE FROM t WHERE id = %(n)s", {"n": 1})] == connection.executed


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> dict[str, DjangoConnection]:
    """The connections of Django by alias."""
    opened: dict[str, DjangoConnection] = {}
    monkeypatch.setattr("django.db.connections", opened)

    @contextmanager
    def atomic(using: str) -> Iterator[None]:
        opened[using].executed.append("begin")
        yield
        opened[using].executed.append("commit")

    monkeypatch.setattr(module, "atomic", atomic)
    return opened


def run(database: DjangoDatabase) -> None:
    with database.transaction() as execute:
        execute("SELECT 1", {})


SELECT: Any = ("SELECT 1", {})


@pytest.mark.parametrize(
    ("vendor", "executed", "poll"),
    [
        ("sqlite", [SELECT, SELECT], POLL),
        ("mysql", ["begin", SELECT, "commit"] * 2, POLL),
        (
            "postgresql",
            [statement.LISTEN, *["begin", SELECT, "commit"] * 2],
            POLL_WOKEN,
        ),
    ],
)
def test_a_relay_listens_once_for_each_connection(
    opened: dict[str, DjangoConnection], vendor: str, executed: list[Any], poll: float
) -> None:
    connection = opened["other"] = DjangoConnection(vendor)
    database = DjangoDatabase("other")
    assert ("django:other", vendor, "/shop.sqlite") == (
        database.name, database.kind, database.sqlite_name,
    )  # fmt: skip
    run(database)
    run(database)
    assert (executed, poll) == (connection.executed, database.poll)
    database.close()
    assert ("close", POLL) == (connection.executed[-1], database.poll)
    connection.executed.clear()
    run(database)
    assert executed[: len(connection.executed)] == connection.executed


@pytest.mark.parametrize(
    ("error", "closes"), [(DatabaseError, True), (InterfaceError, True), (ValueError, False)]
)
@pytest.mark.parametrize("vendor", ["postgresql", "sqlite"])
def test_an_error_of_the_database_closes_its_connection(
    opened: dict[str, DjangoConnection], vendor: str, error: type[Exception], closes: bool
) -> None:
    connection = opened["default"] = DjangoConnection(vendor)
    database = DjangoDatabase()
    with pytest.raises(error), database.transaction():
        raise error
    assert closes == ("close" in connection.executed)
    assert "commit" not in connection.executed
