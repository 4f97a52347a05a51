"""When timers are looked for and ended instances deleted, and by which statements."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from celeriac.outbox import pruning, timer
from celeriac.outbox.database import Execute
from celeriac.outbox.timer import (
    LOOK_FOR_TABLE,
    MAX_ROWS,
    POLL,
    PRUNE_AGAIN,
    PRUNE_EVERY,
    PRUNE_PAGES,
    TimerMover,
    has_tables,
    move_due,
    oldest_timer_ms,
)
from celeriac.process import create_processes

KINDS = ("postgresql", "mysql", "sqlite")


class Rows:
    """A database that answers the statements in turn, and records them with their parameters."""

    kind = "postgresql"

    def __init__(self, *answers: Sequence[Sequence[Any]]) -> None:
        self.answers = list(answers)
        self.executed: list[tuple[str, Mapping[str, Any]]] = []
        self.transactions = 0

    @contextmanager
    def transaction(self) -> Iterator[Execute]:
        self.transactions += 1
        yield self.execute

    def execute(self, sql: str, parameters: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
        self.executed.append((sql, parameters))
        return self.answers.pop(0) if self.answers else []


@pytest.mark.parametrize("kind", KINDS)
def test_each_database_is_asked_for_its_tables(kind: str) -> None:
    rows = Rows([(1,)], [])
    assert has_tables(rows.execute, kind) is True
    assert has_tables(rows.execute, kind) is False
    assert all("'celeriac_timer'" in sql for sql, _ in rows.executed)


@pytest.mark.parametrize(
    ("answers", "at_ms"), [(([],), None), (([(1,)], [(None,)]), None), (([(1,)], [("7",)]), 7)]
)
def test_the_first_timer(answers: Any, at_ms: int | None) -> None:
    rows = Rows(*answers)
    assert at_ms == oldest_timer_ms(rows.execute, "mysql")
    assert len(answers) == len(rows.executed)


@pytest.mark.parametrize("kind", KINDS)
def test_expired_timers_are_inserted_into_the_outbox_and_then_deleted(kind: str) -> None:
    rows = Rows([("a",), ("b",)])
    assert 2 == move_due(rows.execute, kind, 77)
    (due, limits), (insertion, inserted), (deletion, deleted) = rows.executed
    assert {"now": 77, "max_rows": MAX_ROWS} == limits
    assert (kind != "sqlite") == due.endswith(" FOR UPDATE SKIP LOCKED")
    assert {"i0": "a", "i1": "b", "now": 77} == inserted
    assert {"i0": "a", "i1": "b"} == deleted
    assert "INSERT INTO celeriac_outbox" in insertion and "IN (:i0, :i1)" in insertion
    assert "DELETE FROM celeriac_timer WHERE event_id IN (:i0, :i1)" == deletion
    nothing = Rows([])
    assert (0, 1) == (move_due(nothing.execute, kind, 77), len(nothing.executed))


class Work:
    """Replaces what a mover does. `moved` and `pruned` are the numbers that it gets in turn."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.exists = 0.0, True
        self.moved: list[int] = []
        self.pruned: list[int] = []
        self.happened: list[str] = []
        self.rows = Rows()
        monkeypatch.setattr(timer, "has_tables", self.has_tables)
        monkeypatch.setattr(timer, "move_due", self.move_due)
        monkeypatch.setattr(timer, "prune", self.prune)
        database: Any = self.rows
        self.mover = TimerMover(database, clock=lambda: self.now)

    def has_tables(self, execute: object, kind: str) -> bool:
        self.happened.append("look")
        return self.exists

    def move_due(self, execute: object, kind: str, now_ms: int) -> int:
        assert ("postgresql", 77) == (kind, now_ms)
        self.happened.append("move")
        return self.moved.pop(0) if self.moved else 0

    def prune(self, execute: object, kind: str, now_ms: int) -> int:
        assert ("postgresql", 77) == (kind, now_ms)
        self.happened.append("prune")
        return self.pruned.pop(0) if self.pruned else 0

    def at(self, now: float) -> tuple[int, str]:
        """Return what a pass at this time moves and does."""
        self.now = now
        self.happened.clear()
        return self.mover.move(77), " ".join(self.happened)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    return Work(monkeypatch)


def test_without_tables_they_are_looked_for_rarely(work: Work) -> None:
    work.exists = False
    assert (0, "look") == work.at(1000)
    assert (0, "") == work.at(1000 + LOOK_FOR_TABLE - 0.01)
    work.exists, work.moved = True, [3]
    assert (3, "look move prune") == work.at(1000 + LOOK_FOR_TABLE)
    assert (0, "move") == work.at(1000 + LOOK_FOR_TABLE + POLL)


def test_timers_are_moved_at_an_interval_or_at_once_if_there_may_be_more(work: Work) -> None:
    work.moved = [MAX_ROWS - 1, MAX_ROWS, 0]
    assert MAX_ROWS - 1 == work.at(1000)[0]
    assert (0, "") == work.at(1000 + POLL - 0.01)
    assert (MAX_ROWS, "move") == work.at(1000 + POLL)
    assert (0, "move") == work.at(1000 + POLL)
    assert (0, "") == work.at(1000 + POLL)
    assert 3 + 1 == work.rows.transactions, "of each move, and of the first deletion"


def test_ended_instances_are_deleted_rarely_or_soon_if_there_are_more(work: Work) -> None:
    full = pruning.MAX_KEYS
    assert (0, "look move prune") == work.at(1000)
    assert (0, "move") == work.at(1000 + PRUNE_EVERY - 0.01)
    work.pruned = [full, full - 1]
    assert (0, "move prune prune") == work.at(2000)
    work.pruned = [full] * PRUNE_PAGES
    assert (0, "move" + " prune" * PRUNE_PAGES) == work.at(3000)
    assert (0, "") == work.at(3000 + PRUNE_AGAIN - 0.01)
    assert (0, "move prune") == work.at(3000 + PRUNE_AGAIN)
    assert (0, "move") == work.at(3000 + PRUNE_AGAIN + POLL)


@pytest.mark.parametrize("kind", KINDS)
def test_expired_instances_are_deleted_with_their_steps(kind: str) -> None:
    rows = Rows([("a", "1"), ("b", b"2")])
    assert 2 == pruning.prune(rows.execute, kind, 77)
    (expired, limits), (steps, of_steps), (processes, of_processes) = rows.executed
    assert {"now": 77, "max_rows": pruning.MAX_KEYS} == limits
    assert (kind != "sqlite") == expired.endswith(" FOR UPDATE SKIP LOCKED")
    assert {"now": 77, "h0": "a", "k0": "1", "h1": "b", "k1": b"2"} == of_steps == of_processes
    listed = "((handler = :h0 AND instance_key = :k0) OR (handler = :h1 AND instance_key = :k1))"
    assert f"DELETE FROM celeriac_process WHERE {listed} AND expires_ms <= :now" == processes
    assert steps.startswith(f"DELETE FROM celeriac_process_step WHERE {listed}")
    assert (kind == "sqlite") == (" AND EXISTS " in steps)
    nothing = Rows([])
    assert (0, 1) == (pruning.prune(nothing.execute, kind, 77), len(nothing.executed))


def test_a_new_instance_of_a_key_keeps_its_steps_on_sqlite() -> None:
    """There each statement is a transaction: the key can start again in between."""
    engine = create_engine("sqlite://")
    create_processes(engine)
    with engine.begin() as connection:

        def execute(sql: str, parameters: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
            result = connection.execute(text(sql), dict(parameters))
            return result.all() if result.returns_rows else ()

        def execute_late(sql: str, parameters: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
            rows = execute(sql, parameters)
            execute("UPDATE celeriac_process SET expires_ms = NULL WHERE handler = 'again'", {})
            return rows

        for handler in ("ended", "again"):
            execute(
                "INSERT INTO celeriac_process VALUES "
                "(:h, 'k', 'completed', '', 1, 1, '', '', '', '', 1, 1, 50)",
                {"h": handler},
            )
            execute(
                "INSERT INTO celeriac_process_step VALUES (:h, 'k', 1, 1, 'e', 'a.b', '{}')",
                {"h": handler},
            )
        assert 2 == pruning.prune(execute_late, "sqlite", 50)
        for table in ("celeriac_process", "celeriac_process_step"):
            assert [("again",)] == [tuple(r) for r in execute(f"SELECT handler FROM {table}", {})]
