"""What holds the leader lock on a database server, and how a relay waits: without a server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from celeriac import ConfigurationError
from celeriac.outbox import statement
from celeriac.outbox.database import POLL, POLL_WOKEN, Execute
from celeriac.outbox.leader_lock import LeaderLock
from celeriac.outbox.listener import PostgresListener
from tests.unit.outbox.connection import ListeningConnection


class Server(LeaderLock):
    """A database server that records what happens, and gives the lock if it `is_free`."""

    def __init__(self, kind: str, *, is_free: bool = True, sqlite_name: str = "") -> None:
        self._kind, self._is_free, self._sqlite_name = kind, is_free, sqlite_name
        self.happened: list[str] = []

    @property
    def kind(self) -> str:
        return self._kind

    @property
    def sqlite_name(self) -> str:
        return self._sqlite_name

    @contextmanager
    def transaction(self) -> Iterator[Execute]:
        def execute(sql: str, parameters: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
            self.happened.append(sql)
            return [(self._is_free, "a second column")]

        self.happened.append("begin")
        yield execute
        self.happened.append("commit")

    def close(self) -> None:
        self.happened.append("close")


POSTGRES, MYSQL = statement.LOCKS["postgresql"], statement.LOCKS["mysql"]
RELEASE = ["begin", statement.RELEASE_LOCK, "commit"]


@pytest.mark.parametrize(
    ("kind", "is_free", "happened"),
    [
        ("postgresql", True, ["begin", POSTGRES, "led", "commit"]),
        ("postgresql", False, ["begin", POSTGRES, "not led", "commit"]),
        ("mysql", True, ["begin", MYSQL, "led", "commit", *RELEASE, "close"]),
        ("mysql", False, ["begin", MYSQL, "not led", "commit", "close"]),
        ("sqlite", True, ["begin", "led", "commit"]),
    ],
)
def test_a_pass_is_led_if_the_lock_is_free(kind: str, is_free: bool, happened: list[str]) -> None:
    server = Server(kind, is_free=is_free)
    with server.as_leader() as execute:
        server.happened.append("not led" if execute is None else "led")
    assert happened == server.happened


@pytest.mark.parametrize(("kind", "closes"), [("postgresql", False), ("mysql", True)])
def test_a_pass_that_fails_does_not_commit(kind: str, closes: bool) -> None:
    server = Server(kind)
    with pytest.raises(ValueError, match="failed"), server.as_leader():
        raise ValueError("failed")
    assert ["begin", statement.LOCKS[kind], *(["close"] if closes else [])] == server.happened


def test_a_locked_file_of_sqlite_is_not_led(tmp_path: Any) -> None:
    server = Server("sqlite", sqlite_name=str(tmp_path / "shop.sqlite"))
    with server.as_leader() as first, server.as_leader() as second:
        assert first is not None
        assert second is None
    assert ["begin", "commit"] == server.happened


def test_another_database_is_refused() -> None:
    with (
        pytest.raises(ConfigurationError, match="the outbox does not support oracle"),
        Server("oracle").as_leader(),
    ):
        raise AssertionError


def test_a_relay_that_commits_wake_waits_longer() -> None:
    server = Server("postgresql")
    assert POLL == server.poll
    server._listener = PostgresListener(object())
    assert POLL == server.poll
    server._listener = PostgresListener(ListeningConnection())
    assert POLL_WOKEN == server.poll


def test_without_a_listener_it_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    own = SimpleNamespace(sleep=slept.append)
    monkeypatch.setattr("celeriac.outbox.leader_lock.time", own)
    Server("mysql").wait(0.25)
    assert [0.25] == slept


def test_with_a_listener_it_waits_for_it_and_closes_a_broken_connection() -> None:
    server, connection = Server("postgresql"), ListeningConnection()
    server._listener = PostgresListener(connection)
    server.wait(0.5)
    assert ([(0.5, 1)], []) == (connection.waited, server.happened)
    connection.error = OSError("closed")
    with pytest.raises(OSError, match="closed"):
        server.wait(0.5)
    assert ["close"] == server.happened
