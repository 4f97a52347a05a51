"""What an inbox is made of, and the engines that it protects from forks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session

from celeriac import ConfigurationError
from celeriac.inbox import DjangoInbox, as_inbox, create_inbox, statement
from celeriac.inbox.sql import dialect_of, mark_processed, prune
from tests.unit.test_fork import in_child


@pytest.fixture
def file_engine(tmp_path: Path) -> Engine:
    """Return an engine with a pool, which nothing protects yet."""
    return create_engine(f"sqlite:///{tmp_path}/shop.sqlite")


class RoutedSession(Session):
    """A session that chooses its engine itself, as routing sessions of applications do."""

    engine: Engine

    def get_bind(self, *args: Any, **options: Any) -> Engine:
        return self.engine


def mark_routed(engine: Engine) -> None:
    session = RoutedSession()
    session.engine = engine
    dialect_of(session)


@pytest.mark.parametrize("protect", [as_inbox, mark_routed], ids=["given", "routed"])
def test_a_forked_child_gets_its_own_connections(
    file_engine: Engine, protect: Callable[[Engine], object]
) -> None:
    pool = file_engine.pool
    assert in_child(lambda: file_engine.pool is pool), "not protected yet"
    protect(file_engine)
    assert in_child(lambda: file_engine.pool is not pool)


def test_a_forked_child_gets_its_own_connections_of_an_async_engine(tmp_path: Path) -> None:
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/shop.sqlite")
    as_inbox(engine)
    pool = engine.sync_engine.pool
    assert in_child(lambda: engine.sync_engine.pool is not pool)


def test_an_inbox_of_django_is_used_as_it_is() -> None:
    inbox = DjangoInbox()
    assert inbox is as_inbox(inbox)


def test_an_unsupported_database_is_refused_before_a_statement(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        assert "sqlite" == dialect_of(connection)
        monkeypatch.setattr(engine.dialect, "name", "oracle")
        with pytest.raises(ConfigurationError, match="does not support oracle"):
            mark_processed(connection, "b.charge", [("a", "order")])


@pytest.mark.parametrize(
    ("rows", "remaining", "is_more"),
    [
        ([899_998, 899_999, 900_000, 900_001], [900_000, 900_001], False),
        ([899_997, 899_998, 899_999], [], True),
        ([899_996, 899_997, 899_998, 899_999], [899_999], True),
        ([899_998, 899_998, 899_998, 899_999], [899_999], True),
        ([], [], False),
    ],
)
def test_rows_older_than_they_are_kept_are_deleted_in_a_bounded_number(
    monkeypatch: pytest.MonkeyPatch, rows: list[int], remaining: list[int], is_more: bool
) -> None:
    monkeypatch.setattr(statement, "PRUNE_ROWS", 2)
    monkeypatch.setattr("time.time", lambda: 1000.0)
    engine = create_engine("sqlite://")
    create_inbox(engine)
    with engine.begin() as connection:
        for number, at_ms in enumerate(rows):
            insert = "INSERT INTO celeriac_inbox VALUES (:key, 'b.charge', 'order', :at_ms)"
            connection.execute(text(insert), {"key": str(number), "at_ms": at_ms})
        assert is_more is prune(connection, 100_000)
        kept = connection.execute(text("SELECT at_ms FROM celeriac_inbox ORDER BY at_ms"))
        assert remaining == list(kept.scalars())
