"""The relay and the readers of instances read parts of an index, however many rows there are."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from itertools import product
from typing import Any

import pytest
from sqlalchemy import Engine, text

from celeriac.outbox import timer
from celeriac.outbox.pruning import MAX_KEYS, prune
from celeriac.outbox.timer import MAX_ROWS, PRUNE_AGAIN, TimerMover, move_due
from celeriac.process import Status, query
from celeriac.process.query import counts, instances
from celeriac.process.total import total
from tests.unit.process.rows_read import ExplainedDatabase

NOW = int(time.time() * 1000)
NUMBER = 6_000
HANDLERS = ("billing.fulfilment", "billing.returns")


def instance(number: int) -> dict[str, Any]:
    """Of four instances, two are open, one is completed, and one has expired."""
    kind = number % 4
    return {
        "handler": HANDLERS[number // 4 % 2],
        "instance_key": f"order-{number}",
        "status": ("open", "open", "completed", "aborted")[kind],
        "state": "{}",
        "version": 1,
        "seq": 1,
        "timers": "",
        "undo_events": "",
        "reason": "",
        "sensitive_paths": "",
        "started_ms": NOW - NUMBER + number,
        "updated_ms": NOW,
        "expires_ms": (None, None, NOW + 86_400_000, NOW - 1)[kind],
    }


def step(number: int) -> dict[str, Any]:
    at = {name: instance(number)[name] for name in ("handler", "instance_key")}
    return {**at, "seq": 1, "at_ms": NOW, "event_id": str(number), "event_type": "a.b",
            "detail": '{"status":"open"}'}  # fmt: skip


def due(number: int) -> dict[str, Any]:
    """All timers have expired in the same millisecond."""
    at = {name: instance(number)[name] for name in ("handler", "instance_key")}
    return {**at, "name": "unpaid", "event_id": f"timer-{number}", "at_ms": NOW - 1,
            "domain": "process", "body": b" " * 1900}  # fmt: skip


@pytest.fixture
def explained(engine: Engine, database_url: str) -> Iterator[ExplainedDatabase]:
    database = ExplainedDatabase(database_url)
    yield database
    database.close()


@pytest.fixture
def filled(explained: ExplainedDatabase, engine: Engine) -> ExplainedDatabase:
    """Many instances of two processes, each with a step."""
    fill(engine, "celeriac_process", map(instance, range(NUMBER)))
    fill(engine, "celeriac_process_step", map(step, range(NUMBER)))
    return explained


def fill(engine: Engine, table: str, rows: Iterable[dict[str, Any]]) -> None:
    values = list(rows)
    columns = ", ".join(values[0])
    named = ", ".join(f":{column}" for column in values[0])
    with engine.begin() as connection:
        connection.execute(text(f"INSERT INTO {table} ({columns}) VALUES ({named})"), values)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        # The planners know the sizes, as in production.
        words = "ANALYZE TABLE" if engine.dialect.name == "mysql" else "ANALYZE"
        connection.execute(text(f"{words} {table}"))


def test_timers_are_moved_by_an_index(explained: ExplainedDatabase, engine: Engine) -> None:
    fill(engine, "celeriac_timer", map(due, range(12_000)))
    for _ in range(2):
        with explained.transaction() as execute:
            assert move_due(execute, explained.kind, NOW) == MAX_ROWS
    assert explained.problems == []
    assert explained.statements == 6
    with engine.begin() as connection:
        connection.execute(text(dropping(engine)))
    with explained.transaction() as execute:
        move_due(execute, explained.kind, NOW)
    assert len(explained.problems) == 2


def dropping(engine: Engine) -> str:
    """Return the statement that makes the timers' event ids unindexed again."""
    on = " ON celeriac_timer" if engine.dialect.name == "mysql" else ""
    return f"DROP INDEX celeriac_timer_event_id{on}"


def test_ended_instances_are_deleted_by_their_keys(
    filled: ExplainedDatabase, engine: Engine
) -> None:
    with filled.transaction() as execute:
        assert prune(execute, filled.kind, NOW) == MAX_KEYS
    assert filled.problems == []
    with engine.begin() as connection:
        for table in ("celeriac_process", "celeriac_process_step"):
            number = connection.execute(text(f"SELECT COUNT(*) FROM {table}")).scalar()
            assert number == NUMBER - MAX_KEYS


def test_the_relay_deletes_some_pages_and_then_looks_again_soon(
    filled: ExplainedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timer, "PRUNE_PAGES", 4)
    now = 0.0
    mover = TimerMover(filled, clock=lambda: now)

    def left_after(seconds: float) -> int:
        nonlocal now
        now = seconds
        mover.move(NOW)
        return sum(c.number for c in counts(filled) if c.status is Status.ABORTED)

    first = NUMBER // 4 - 4 * MAX_KEYS
    assert left_after(0.0) == left_after(PRUNE_AGAIN / 2) == first
    assert left_after(PRUNE_AGAIN) == 0


def test_instances_are_counted_up_to_a_limit(
    filled: ExplainedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query, "MAX_COUNTED", 700)
    counted = counts(filled)
    assert filled.problems == []
    assert [(row.handler, row.status, row.number) for row in counted] == [
        (handler, status, 700)
        for handler in HANDLERS
        for status in (Status.ABORTED, Status.COMPLETED, Status.OPEN)
    ]
    oldest = [row.oldest_ms for row in counted if row.status is Status.OPEN]
    assert oldest == [NOW - NUMBER, NOW - NUMBER + 4]
    assert filled.statements == 3 + 2 * 3


def test_instances_are_listed_by_an_index(filled: ExplainedDatabase) -> None:
    for handler, status, before in product(
        ("", HANDLERS[1]), (None, Status.OPEN, Status.COMPLETED), (None, NOW - NUMBER // 2)
    ):
        rows = instances(filled, handler=handler, status=status, started_before_ms=before, limit=50)
        expected = [
            row["instance_key"]
            for row in map(instance, range(1000))
            if handler in ("", row["handler"]) and (status is None or row["status"] == status.value)
        ]
        assert [row.key for row in rows] == expected[:50]
    assert filled.problems == []
    assert filled.statements == 2 * 2 * 5


@pytest.mark.parametrize(("number", "shown"), [(5, "5"), (99_999, "99,999"), (100_000, "100,000+")])
def test_a_total_shows_that_it_may_be_larger(number: int, shown: str) -> None:
    counted = [query.Count("a.b", Status.OPEN, number, 0), query.Count("a.b", Status.ABORTED, 7, 0)]
    assert str(total(counted, Status.OPEN)) == shown
    assert str(total(counted, Status.ABORTED, "a.b")) == "7"
    assert str(total(counted, Status.COMPLETED)) == "0"
