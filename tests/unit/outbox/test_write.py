"""The statements of a write, on each kind of database: without a server."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import create_engine
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from celeriac import ConfigurationError
from celeriac.outbox import create_outbox
from celeriac.outbox.write import row, write
from celeriac.sql_engine import UNTRANSLATED
from tests.unit.test_fork import in_child

A, B = (row(id, "order", b"{}") for id in "ab")
INSERT = "INSERT INTO celeriac_outbox"


class Recorded(Session):
    """A session of a database of this kind, which records (statement, parameters)."""

    def __init__(self, kind: str, error: Exception | None = None) -> None:
        super().__init__()
        self.kind, self.error = kind, error
        self.executed: list[tuple[str, Any]] = []

    def get_bind(self, *args: Any, **options: Any) -> Any:
        return SimpleNamespace(dialect=SimpleNamespace(name=self.kind))

    def execute(self, statement: Any, params: Any = None, **options: Any) -> Any:
        assert options.get("execution_options", UNTRANSLATED) == UNTRANSLATED
        dialect: Any = postgresql.dialect
        self.executed.append((str(statement.compile(dialect=dialect())), params))
        if self.error is not None:
            raise self.error


@pytest.mark.parametrize(
    ("kind", "rows", "statements"),
    [
        ("postgresql", [A], [(True, True, A)]),
        ("postgresql", [A, B], [(True, False, [A, B]), (False, True, None)]),
        ("sqlite", [A], [(True, False, [A])]),
        ("mysql", [A, B], [(True, False, [A, B])]),
    ],
)
def test_one_row_needs_one_statement_and_only_postgresql_is_notified(
    kind: str, rows: list[Any], statements: list[Any]
) -> None:
    session = Recorded(kind)
    write(session, rows)
    assert statements == [
        (text.startswith(INSERT), "pg_notify" in text, given) for text, given in session.executed
    ]


@pytest.mark.parametrize(
    ("message", "remedy"), [("no such table: celeriac_outbox", "create_outbox"), ("locked", None)]
)
def test_a_missing_table_is_an_error_with_the_remedy(message: str, remedy: str | None) -> None:
    error = DBAPIError("INSERT", {}, Exception(message))
    with pytest.raises((ConfigurationError, DBAPIError)) as raised:
        write(Recorded("sqlite", error), [A])
    assert (raised.value is error) if remedy is None else remedy in str(raised.value)


def test_a_forked_child_gets_its_own_connections_of_the_engine(tmp_path: Path) -> None:
    tables = create_engine(f"sqlite:///{tmp_path}/shop.sqlite", poolclass=NullPool)
    create_outbox(tables)
    engine = create_engine(tables.url)
    with Session(engine) as session, session.begin():
        write(session, [A])
    pool = engine.pool
    assert in_child(lambda: engine.pool is not pool)
