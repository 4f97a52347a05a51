"""The leader lock ends with its process, even if that process has forked."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from celeriac.outbox import create_outbox
from celeriac.outbox.database import open_database
from celeriac.outbox.listener import PostgresListener
from tests.unit.outbox.connection import ListeningConnection, is_null
from tests.unit.test_fork import in_child

HOLDS_AND_FORKS = """
import os, sys, time
from celeriac.outbox.database import open_database

database = open_database(sys.argv[1])
with database.as_leader() as execute:      # connects, and has the right to publish for a moment
    assert execute is not None
child = os.fork()                     # as a worker's pool does while its relay waits
if child == 0:
    time.sleep(60)
    os._exit(0)
with database.as_leader() as execute:
    assert execute is not None
    print(child, flush=True)
    time.sleep(60)
"""


def test_a_killed_relay_gives_way_though_its_children_live_on(database_url: str) -> None:
    """A child that kept the socket open would keep the lock, like the pool processes of a worker
    whose main process was killed."""
    create_outbox(create_engine(database_url, poolclass=NullPool))
    command = [sys.executable, "-c", HOLDS_AND_FORKS, database_url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        child = int(holder.stdout.readline())
        database = open_database(database_url)
        try:
            with database.as_leader() as execute:
                assert execute is None
            holder.kill()
            deadline = time.monotonic() + 60
            while True:
                with database.as_leader() as execute:
                    if execute is not None:
                        break
                assert time.monotonic() < deadline
                time.sleep(0.02)
            os.kill(child, 0)  # it is still there
        finally:
            database.close()
            holder.kill()
            os.kill(child, signal.SIGKILL)


def test_without_psycopg_3_it_looks_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    own = SimpleNamespace(sleep=slept.append)
    monkeypatch.setattr("celeriac.outbox.listener.time", own)
    listener = PostgresListener(object())
    listener.wait(0.05)
    assert [0.05] == slept
    assert not listener.works


@pytest.mark.parametrize(("seconds", "stop_after"), [(1.0, 1), (0.25, 1), (0, None)])
def test_one_notification_ends_a_wait_and_no_time_discards_all(
    seconds: float, stop_after: int | None
) -> None:
    connection = ListeningConnection()
    PostgresListener(connection).wait(seconds)
    assert [(seconds, stop_after)] == connection.waited


def test_a_forked_child_has_no_socket_of_the_listener() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        listener = PostgresListener(ListeningConnection(ours.fileno()))
        assert in_child(lambda: is_null(ours.fileno()))
        assert not is_null(ours.fileno()), "the parent keeps it"
        first_free = os.dup(ours.fileno())
        os.close(first_free)
        listener.detach()
        assert is_null(ours.fileno())
        next_free = os.dup(ours.fileno())
        os.close(next_free)
        assert first_free == next_free, "no descriptor is left open"
        assert b"" == theirs.recv(1), "the other end sees the end"


def test_a_closed_connection_has_nothing_to_detach() -> None:
    PostgresListener(ListeningConnection()).detach()
