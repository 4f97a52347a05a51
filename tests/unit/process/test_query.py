"""Queries of instances, on rows of SQLite."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from celeriac import ConfigurationError
from celeriac.outbox.database import Database, open_database
from celeriac.process import Status, create_processes, query
from celeriac.process.instance import Instance, ProcessStep, StepChanges, Timer, TimerRecord
from celeriac.process.query import (
    Count,
    Summary,
    counts,
    fire_timer,
    has_processes,
    history,
    instances,
)
from celeriac.process.sql_store import sql_store
from celeriac.process.total import total


class Rows:
    """The tables of processes in a new database."""

    def __init__(self, folder: Path) -> None:
        url = f"sqlite:///{folder / 'shop.sqlite'}"
        self.engine = create_engine(url, poolclass=NullPool)
        self.database: Database = open_database(url)

    def save(
        self, instance: Instance, *steps: ProcessStep, timer: TimerRecord | None = None
    ) -> None:
        timers = () if timer is None else (timer,)
        with self.engine.begin() as connection:
            store = sql_store(connection)
            store.lock(instance.handler, instance.key, insert=True, now_ms=7)
            for step in steps or (step_of(1),):
                store.save(StepChanges(instance, step, set_timers=timers))

    def one(self, sql: str) -> object:
        with self.engine.begin() as connection:
            return connection.execute(text(sql)).scalar()


@pytest.fixture
def rows(tmp_path: Path) -> Iterator[Rows]:
    rows = Rows(tmp_path)
    create_processes(rows.engine)
    yield rows
    rows.database.close()


def step_of(seq: int, **values: object) -> ProcessStep:
    given = {"at_ms": 5, "event_id": f"e{seq}", "event_type": "order.placed"}
    return ProcessStep(seq=seq, **{"status": Status.OPEN, **given, **values})  # type: ignore[arg-type]


def instance(handler: str, key: str, **values: object) -> Instance:
    return Instance(handler, key, **{"seq": 1, "state": b"{}", **values})  # type: ignore[arg-type]


def keys(found: list[Summary]) -> list[str]:
    return [each.key for each in found]


def test_a_database_has_processes_if_it_has_their_tables(tmp_path: Path, rows: Rows) -> None:
    (tmp_path / "empty").mkdir()
    assert not has_processes(Rows(tmp_path / "empty").database)
    assert has_processes(rows.database)


def test_instances_are_selected_and_listed_by_their_start(rows: Rows) -> None:
    rows.save(instance("a", "second", started_ms=20, updated_ms=99, reason=""))
    rows.save(instance("b", "first", started_ms=10))
    rows.save(instance("a", "ended", started_ms=5, status=Status.COMPLETED))
    rows.save(instance("a", "reserved", started_ms=1, seq=0))
    cases: list[tuple[dict[str, Any], list[str]]] = [
        ({}, ["first", "second"]),
        ({"limit": 1}, ["first"]),
        ({"handler": "a"}, ["second"]),
        ({"status": None}, ["ended", "first", "second"]),
        ({"status": None, "limit": 2}, ["ended", "first"]),
        ({"status": Status.COMPLETED}, ["ended"]),
        ({"status": Status.ABORTED}, []),
        ({"started_before_ms": 20}, ["first"]),
        ({"started_before_ms": 21}, ["first", "second"]),
        ({"started_before_ms": 0}, []),
    ]
    for options, expected in cases:
        assert expected == keys(instances(rows.database, **options))


def test_instances_that_started_together_are_listed_by_handler_and_key(rows: Rows) -> None:
    for handler, key in (("b", "1"), ("a", "2"), ("a", "1")):
        rows.save(instance(handler, key))
    assert [("a", "1"), ("a", "2"), ("b", "1")] == [
        (each.handler, each.key) for each in instances(rows.database)
    ]


def test_a_summary_has_the_names_of_its_timers(rows: Rows) -> None:
    timers = {"late": Timer("e", 9), "later": Timer("f", 10)}
    rows.save(instance("a", "k", seq=3, timers=timers, reason="why", started_ms=10, updated_ms=20))
    [found] = instances(rows.database)
    expected = Summary("a", "k", Status.OPEN, 3, ("late", "later"), "why", 10, 20)
    assert expected == found
    assert "k" == query._text(b"k"), "MySQL stores keys as bytes"


def test_instances_are_counted_by_handler_and_status(
    rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [] == counts(rows.database)
    for number in range(3):
        rows.save(instance("b", f"{number}", started_ms=30 - number))
    rows.save(instance("a", "x", status=Status.ABORTED, started_ms=5))
    rows.save(instance("a", "y", started_ms=6))
    expected = [
        Count("a", Status.ABORTED, 1, 5), Count("a", Status.OPEN, 1, 6),
        Count("b", Status.OPEN, 3, 28),
    ]  # fmt: skip
    assert expected == counts(rows.database)
    assert ("4", "3", "1", "0") == (
        str(total(expected, Status.OPEN)), str(total(expected, Status.OPEN, "b")),
        str(total(expected, Status.ABORTED)), str(total(expected, Status.ABORTED, "b")),
    )  # fmt: skip
    monkeypatch.setattr(query, "MAX_COUNTED", 2)
    assert [1, 1, 2] == [count.number for count in counts(rows.database)]


@pytest.mark.parametrize(
    ("numbers", "text"),
    [([], "0"), ([99_999], "99,999"), ([100_000], "100,000+"), ([100_000, 5], "100,005+")],
)
def test_a_total_may_be_incomplete(numbers: list[int], text: str) -> None:
    counted = [Count(f"h{n}", Status.OPEN, number, 1) for n, number in enumerate(numbers)]
    assert text == str(total(counted, Status.OPEN))


def test_a_history_has_the_first_steps_in_order(
    rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = instance(
        "a", "k", seq=3, state=b'{"n":1}', version=4, undo=["u"], reason="why", sensitive="n",
        timers={"late": Timer("e", 9)}, started_ms=1, updated_ms=2, expires_ms=3,
        status=Status.ABORTED,
    )  # fmt: skip
    last = step_of(
        3, emitted=(("a.b", "id"),), reminders=(("late", 9),), forgotten=("x",), reason="why",
        status=Status.ABORTED,
    )  # fmt: skip
    rows.save(stored, last, step_of(1), step_of(2))
    found = history(rows.database, "a", "k")
    assert found is not None
    assert (stored, (step_of(1), step_of(2), last)) == (found.instance, found.steps)
    monkeypatch.setattr(query, "MAX_STEPS", 2)
    found = history(rows.database, "a", "k")
    assert found is not None
    assert [1, 2] == [step.seq for step in found.steps]


def test_what_a_step_does_not_have_takes_no_space(rows: Rows) -> None:
    rows.save(instance("a", "k"))
    assert '{"status":"open"}' == rows.one("SELECT detail FROM celeriac_process_step")


def test_an_instance_that_is_only_reserved_has_no_history(rows: Rows) -> None:
    rows.save(instance("a", "k", seq=0))
    assert history(rows.database, "a", "k") is None
    assert history(rows.database, "a", "unknown") is None


@pytest.mark.parametrize(("at_ms", "expected"), [(2**50, None), (5, 5)])
def test_a_timer_that_is_set_expires_now_if_it_has_not_yet(
    rows: Rows, at_ms: int, expected: int | None
) -> None:
    timer = TimerRecord("late", "e", at_ms, "process", b"{}")
    rows.save(instance("a", "k", timers={"late": Timer("e", at_ms)}), timer=timer)
    before = int(time.time() * 1000)
    assert fire_timer(rows.database, "a", "k", "late") is True
    stored = rows.one("SELECT at_ms FROM celeriac_timer")
    assert isinstance(stored, int)
    assert stored == expected if expected else before <= stored <= before + 60_000


@pytest.mark.parametrize(("key", "timer"), [("k", "other"), ("unknown", "late")])
def test_a_timer_that_is_not_set_cannot_expire(rows: Rows, key: str, timer: str) -> None:
    rows.save(instance("a", "k", timers={"late": Timer("e", 9)}))
    assert fire_timer(rows.database, "a", key, timer) is False


@pytest.mark.parametrize(
    ("sql", "error", "message"),
    [
        (
            "SELECT * FROM celeriac_process",
            ConfigurationError,
            r"Create it: call celeriac\.process",
        ),
        ("SELECT * FROM nowhere", OperationalError, "nowhere"),
    ],
)
def test_a_missing_table_is_an_error_with_the_remedy(
    tmp_path: Path, sql: str, error: type[Exception], message: str
) -> None:
    with (
        Rows(tmp_path).database.transaction() as execute,
        pytest.raises(error, match=message),
    ):
        query._run(execute, sql, {})
