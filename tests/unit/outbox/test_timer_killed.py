"""A relay that is killed with SIGKILL while it moves timers loses none and publishes each once."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest
from sqlalchemy import Engine

from celeriac import EventBus
from celeriac.outbox.relay import Relay
from celeriac.process import create_processes
from tests.unit.outbox.conftest import left, published
from tests.unit.outbox.test_timer import set_timer, timers

# Moves the timers of a database, and dies after some of the statements, before the commit.
_MOVE = """
import os, signal, sys
from celeriac.outbox.database import open_database
from celeriac.outbox.timer import move_due

url, now_ms, survived = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
database = open_database(url)
with database.transaction() as execute:
    def run(sql, parameters):
        global survived
        rows = execute(sql, parameters)
        survived -= 1
        if not survived:
            os.kill(os.getpid(), signal.SIGKILL)
        return rows

    move_due(run, database.kind, now_ms)
"""
STATEMENTS = ("SELECT", "INSERT", "DELETE")


def kill_moving(engine: Engine, url: str, now_ms: int, survived: int) -> None:
    died = subprocess.run([sys.executable, "-c", _MOVE, url, str(now_ms), str(survived)])
    assert died.returncode == -signal.SIGKILL
    if engine.dialect.name != "sqlite":
        # A relay skips locked timers. The server rolls back once it notices that its client died.
        with engine.begin() as connection:
            connection.exec_driver_sql("SELECT event_id FROM celeriac_timer FOR UPDATE")


@pytest.mark.parametrize("survived", [1, 2, 3], ids=STATEMENTS)
def test_the_next_relay_publishes_each_timer_once(
    engine: Engine, database_url: str, relay: Relay, live: EventBus, survived: int
) -> None:
    create_processes(engine)
    now = int(time.time() * 1000)
    set_timer(engine, "a", now - 2)
    set_timer(engine, "b", now - 1)
    kill_moving(engine, database_url, now, survived)
    # On SQLite each statement is a transaction. Elsewhere, nothing has happened.
    is_sqlite = engine.dialect.name == "sqlite"
    assert timers(engine) == ([] if is_sqlite and survived == 3 else ["a", "b"])
    assert left(engine) == (["a", "b"] if is_sqlite and survived > 1 else [])
    relay.drain()
    assert published(live, "process") == ["a", "b"]
    assert (timers(engine), left(engine)) == ([], [])


def test_a_timer_that_is_set_again_after_the_kill_is_kept(
    engine: Engine, database_url: str, relay: Relay, live: EventBus
) -> None:
    """It has another event id, so the first one is outdated, and the process ignores it."""
    create_processes(engine)
    now = int(time.time() * 1000)
    set_timer(engine, "first", now - 1, name="unpaid")
    kill_moving(engine, database_url, now, 2)
    with engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM celeriac_timer")
    set_timer(engine, "second", now + 86_400_000, name="unpaid")
    relay.drain()
    assert timers(engine) == ["second"]
    assert published(live, "process") == (["first"] if engine.dialect.name == "sqlite" else [])
