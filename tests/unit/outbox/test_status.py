"""The status of an outbox, and its failed rows: on SQLite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.pool import NullPool

from celeriac.outbox import create_outbox
from celeriac.outbox import status as module
from celeriac.outbox.database import Database, open_database
from celeriac.outbox.status import (
    FailedRow,
    OutboxStatus,
    discard,
    failed,
    failed_events,
    retry,
    status,
)
from celeriac.process import create_processes

NOW = 1_000.0


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    monkeypatch.setattr("time.time", lambda: NOW)
    engine = create_engine(f"sqlite:///{tmp_path / 'shop.sqlite'}", poolclass=NullPool)
    create_outbox(engine)
    return engine


@pytest.fixture
def database(engine: Engine) -> Iterator[Database]:
    database = open_database(str(engine.url))
    yield database
    database.close()


def add(engine: Engine, number: int, *, failed_ms: int | None = None, created_ms: int = 5) -> None:
    sql = (
        "INSERT INTO celeriac_outbox (id, event_id, domain, body, created_ms, failed_ms, error) "
        "VALUES (:id, :event, 'order', '{}', :created, :failed, :error)"
    )
    row = {"id": number, "event": f"e{number}", "created": created_ms, "failed": failed_ms}
    with engine.begin() as connection:
        connection.execute(text(sql), {**row, "error": f"why {number}" if failed_ms else None})


def add_timer(engine: Engine, at_ms: int) -> None:
    sql = "INSERT INTO celeriac_timer VALUES ('h', 'k', :at, 'e', :at, 'process', '{}')"
    with engine.begin() as connection:
        connection.execute(text(sql), {"at": at_ms})


def waiting(engine: Engine) -> list[int]:
    with engine.begin() as connection:
        sql = text("SELECT id FROM celeriac_outbox WHERE failed_ms IS NULL AND error IS NULL")
        return sorted(connection.execute(sql).scalars())


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ({}, (0, None, 0)),
        ({1: None, 2: None}, (2, 10.0, 0)),
        ({1: None, 2: 7, 3: 8}, (1, 10.0, 2)),
        ({2: 7}, (0, None, 1)),
    ],
)
def test_failed_rows_do_not_wait(
    engine: Engine,
    database: Database,
    rows: dict[int, int | None],
    expected: tuple[int, float | None, int],
) -> None:
    for number, failed_ms in rows.items():
        add(engine, number, failed_ms=failed_ms, created_ms=990_000 + number - 1)
    count, oldest_s, failures = expected
    assert OutboxStatus(database.name, count, oldest_s, failures) == status(database)


def test_an_event_of_a_clock_ahead_has_no_age(engine: Engine, database: Database) -> None:
    add(engine, 1, created_ms=2_000_000)
    assert 0.0 == status(database).oldest_s


@pytest.mark.parametrize(
    ("timers", "overdue_s"),
    [([], None), ([1_000_001], None), ([1_000_000], 0.0), ([1_000_500, 999_500], 0.5)],
)
def test_a_timer_is_overdue_once_it_has_expired(
    engine: Engine, database: Database, timers: list[int], overdue_s: float | None
) -> None:
    create_processes(engine)
    for at_ms in timers:
        add_timer(engine, at_ms)
    assert overdue_s == status(database).timer_overdue_s


def test_failed_rows_are_listed_oldest_first(engine: Engine, database: Database) -> None:
    for number, failed_ms in ((3, 7), (1, 9), (2, None)):
        add(engine, number, failed_ms=failed_ms)
    assert [
        FailedRow(1, "e1", "order", "why 1", 9, 5), FailedRow(3, "e3", "order", "why 3", 7, 5),
    ] == failed(database)  # fmt: skip
    assert [1] == [row.row for row in failed(database, max_rows=1)]


@pytest.mark.parametrize("page", [1, 2, 3, 500])
def test_failed_rows_are_changed_in_pages(
    engine: Engine, database: Database, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    monkeypatch.setattr(module, "PAGE", page)
    for number in range(1, 7):
        add(engine, number, failed_ms=None if number == 4 else 7)
    assert {1: "e1", 2: "e2", 6: "e6"} == failed_events(database, [1, 2, 4, 6, 99])
    assert 2 == retry(database, [1, 2, 4, 99])
    assert [1, 2, 4] == waiting(engine)
    assert 1 == discard(database, iter([3, 4]))
    assert [5, 6] == [row.row for row in failed(database)]
    assert 2 == retry(database)
    assert [1, 2, 4, 5, 6] == waiting(engine)
    assert (0, 0) == (retry(database), discard(database))
    assert ([], 5) == (failed(database), status(database).waiting)


def test_all_failed_rows_are_discarded(engine: Engine, database: Database) -> None:
    for number in (1, 2, 3):
        add(engine, number, failed_ms=None if number == 2 else 7)
    assert 2 == discard(database)
    assert OutboxStatus(database.name, 1, 999.995, 0) == status(database)
