"""The relay moves expired timers of processes to the outbox and publishes them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Engine, text

from celeriac import EventBus
from celeriac.event import build_event, encode
from celeriac.outbox.database import Database, Execute, open_database
from celeriac.outbox.relay import Relay
from celeriac.outbox.status import status
from celeriac.outbox.timer import LOOK_FOR_TABLE, TimerMover, move_due
from celeriac.process import create_processes
from tests.unit.outbox.conftest import left, published

NOW = int(time.time() * 1000)


def set_timer(engine: Engine, event_id: str, at_ms: int, name: str = "") -> None:
    event = build_event("process.reminded", {"name": name}, source="billing", id=event_id)
    sql = "INSERT INTO celeriac_timer VALUES (:h, :k, :n, :id, :at, 'process', :body)"
    row = {"h": "billing.flow", "k": "42", "n": name or event_id, "id": event_id, "at": at_ms}
    with engine.begin() as connection:
        connection.execute(text(sql), {**row, "body": encode(event)})


def timers(engine: Engine) -> list[str]:
    with engine.begin() as connection:
        sql = text("SELECT event_id FROM celeriac_timer ORDER BY at_ms")
        return list(connection.execute(sql).scalars())


def test_expired_timers_are_published_in_the_order_of_their_times(
    engine: Engine, relay: Relay, live: EventBus
) -> None:
    create_processes(engine)
    set_timer(engine, "late", NOW - 1_000)
    set_timer(engine, "later", NOW - 500)
    set_timer(engine, "first", NOW - 2_000)
    set_timer(engine, "tomorrow", NOW + 86_400_000)
    assert relay.drain() == 3
    assert published(live, "process") == ["first", "late", "later"]
    assert (timers(engine), left(engine)) == (["tomorrow"], [])


def test_a_database_without_processes_is_looked_at_rarely(
    engine: Engine, database: Database
) -> None:
    now = 0.0
    mover = TimerMover(database, clock=lambda: now)
    assert mover.move(NOW) == 0
    create_processes(engine)
    set_timer(engine, "a", NOW - 1)
    now = LOOK_FOR_TABLE - 1
    assert mover.move(NOW) == 0
    now = LOOK_FOR_TABLE
    assert mover.move(NOW) == 1


def test_more_timers_than_a_batch_are_moved_without_a_pause(
    engine: Engine, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    from celeriac.outbox import timer

    monkeypatch.setattr(timer, "MAX_ROWS", 2)
    create_processes(engine)
    for number in range(5):
        set_timer(engine, f"t{number}", NOW - 10 + number)
    now = 5.0
    mover = TimerMover(database, clock=lambda: now)
    assert [mover.move(NOW) for _ in range(4)] == [2, 2, 1, 0]
    assert left(engine) == ["t0", "t1", "t2", "t3", "t4"]


def test_a_relay_that_dies_while_it_moves_loses_no_timer(
    engine: Engine, database: Database, relay: Relay, live: EventBus
) -> None:
    """It dies at each statement in turn. An event that is moved twice has one id."""
    create_processes(engine)
    set_timer(engine, "a", NOW - 1)

    class Killed(BaseException):
        pass

    @contextmanager
    def dying(statements: int) -> Iterator[Execute]:
        with database.transaction() as execute:

            def run(*arguments: object) -> object:
                nonlocal statements
                statements -= 1
                if statements < 0:
                    raise Killed
                return execute(*arguments)  # type: ignore[arg-type]

            yield run  # type: ignore[misc]

    for survived in range(3):
        with pytest.raises(Killed), dying(survived) as execute:
            move_due(execute, database.kind, NOW)
        assert "a" in timers(engine)
    database.close()
    relay.drain()
    assert published(live, "process") == ["a"]
    assert timers(engine) == []


def test_the_status_has_the_time_since_the_first_timer_expired(
    engine: Engine, database: Database
) -> None:
    assert status(database).timer_overdue_s is None
    create_processes(engine)
    now = int(time.time() * 1000)
    set_timer(engine, "later", now + 60_000)
    assert status(database).timer_overdue_s is None
    set_timer(engine, "late", now - 60_000)
    overdue = status(database).timer_overdue_s
    assert overdue is not None and 59 < overdue < 120


def test_two_relays_move_a_timer_once(engine: Engine, database_url: str) -> None:
    if "sqlite" in database_url:
        pytest.skip("SQLite has one writer, and the event's id is the same")
    create_processes(engine)
    for number in range(200):
        set_timer(engine, f"t{number}", NOW - 1)
    moved: list[int] = []

    def move() -> None:
        database = open_database(database_url)
        with database.transaction() as execute:
            moved.append(move_due(execute, database.kind, NOW))
        database.close()

    threads = [threading.Thread(target=move) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(moved) == 200
    assert sorted(left(engine)) == sorted(f"t{number}" for number in range(200))
