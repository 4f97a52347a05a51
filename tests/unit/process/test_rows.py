"""Instances as rows: what is removed, refused and explained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from celeriac import ConfigurationError
from celeriac.process import Status, create_processes, statement
from celeriac.process.instance import Instance, ProcessStep, StepChanges, TimerRecord
from celeriac.process.rows import RowStore
from celeriac.process.sql_store import sql_store

RESERVED = ("open", b"{}", 1, 0, "{}", "[]", "", "", 0, 0, None)


def changes(seq: int, **values: Any) -> StepChanges:
    step = ProcessStep(seq=seq, at_ms=1, event_id="e", event_type="a.b", status=Status.OPEN)
    return StepChanges(Instance("a", "k", seq=seq), step, **values)


def timer(name: str, at_ms: int = 5) -> TimerRecord:
    return TimerRecord(name, f"event of {name}", at_ms, "process", b"{}")


def test_a_step_sets_and_removes_timers() -> None:
    engine = create_engine("sqlite://")
    create_processes(engine)
    stored = []
    with engine.begin() as connection:
        store = sql_store(connection)
        assert store.lock("a", "k", insert=False, now_ms=1) is None
        assert store.lock("a", "k", insert=True, now_ms=1) is None, "only reserved"
        for step in (
            changes(1, set_timers=(timer("late"), timer("later"))),
            changes(2, set_timers=(timer("late", 6),), removed_timers=("later",)),
            changes(3, removed_timers=("late", "unknown")),
        ):
            store.save(step)
            rows = connection.execute(text("SELECT name, at_ms FROM celeriac_timer ORDER BY 1"))
            stored.append([tuple(row) for row in rows])
        found = store.lock("a", "k", insert=False, now_ms=1)
        assert found is not None and 3 == found.seq
    assert [[("late", 5), ("later", 5)], [("late", 6)], []] == stored


def unused(*given: Any) -> Any:
    raise AssertionError


@pytest.mark.parametrize("dialect", statement.DIALECTS)
def test_these_databases_have_statements_of_their_own(dialect: str) -> None:
    executed: list[str] = []

    def execute(sql: str, parameters: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
        executed.append(sql)
        return [RESERVED] if sql.startswith("SELECT") else ()

    store = RowStore(execute, dialect, unused)
    assert store.lock("a", "k", insert=True, now_ms=1) is None
    store.save(changes(1, set_timers=(timer("late"),)))
    reserved, locked, _, set_timer, _ = executed
    upserts = "ON DUPLICATE KEY UPDATE" if dialect in ("mysql", "mariadb") else "ON CONFLICT"
    assert upserts in reserved and upserts in set_timer
    assert (dialect != "sqlite") == locked.endswith(" FOR UPDATE")


def test_a_row_that_is_deleted_at_once_is_inserted_again() -> None:
    """On PostgreSQL, the relay may delete an ended instance after `INSERT … ON CONFLICT`."""
    found: list[Sequence[Sequence[Any]]] = [(), (), [RESERVED]]
    inserts = []

    def execute(sql: str, parameters: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
        if sql.startswith("SELECT"):
            return found.pop(0)
        inserts.append(sql)
        return ()

    store = RowStore(execute, "postgresql", unused)
    assert store.lock("a", "k", insert=True, now_ms=1) is None
    assert ([], 3) == (found, len(inserts))


def test_a_row_that_is_always_deleted_is_an_error() -> None:
    store = RowStore(lambda sql, parameters: (), "postgresql", unused)
    with pytest.raises(RuntimeError, match="the instance k of a in celeriac_process was deleted"):
        store.lock("a", "k", insert=True, now_ms=1)


def test_another_database_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="processes do not support oracle"):
        RowStore(unused, "oracle", unused)


@pytest.mark.parametrize(
    ("message", "table"),
    [
        ('relation "celeriac_process_step" does not exist', "celeriac_process_step"),
        ("no such table: celeriac_process", "celeriac_process"),
        ("Table 'shop.celeriac_timer' doesn't EXIST", "celeriac_timer"),
    ],
)
def test_a_missing_table_is_named_with_the_remedy(message: str, table: str) -> None:
    explained = statement.explained(ValueError(message), "migrate")
    assert isinstance(explained, ConfigurationError)
    assert f"the table {table} is missing. Create it: migrate (" in str(explained)
