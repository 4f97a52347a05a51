"""outbox_fsync: rows stay until published events are on the disk of Redis."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from celeriac import BusUnavailable, ConfigurationError, EventBus, Settings
from celeriac.outbox import create_outbox, fsync_barrier
from celeriac.outbox.database import open_database
from celeriac.outbox.fsync_barrier import FsyncBarrier
from celeriac.outbox.relay import Relay
from celeriac.testing.server import EmbeddedServer, start_server
from tests.unit.outbox.conftest import left, published


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    (tmp_path / "data").mkdir()
    with start_server(tmp_path / "data") as server:
        yield server


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    engine = create_engine(f"sqlite:///{tmp_path / 'shop.sqlite'}", poolclass=NullPool)
    create_outbox(engine)
    return engine


@pytest.fixture
def bus(server: EmbeddedServer) -> EventBus:
    return EventBus(service="shop", redis_url=server.url, outbox_fsync=True, emit_timeout=1)


@pytest.fixture
def relay(engine: Engine, bus: EventBus) -> Relay:
    return Relay(open_database(str(engine.url)), bus.settings)


def emit(bus: EventBus, engine: Engine, *ids: str) -> None:
    with Session(engine) as session, session.begin():
        for id in ids:
            bus.emit("order.placed", id=id, session=session)


def test_what_is_on_the_disk_is_removed(bus: EventBus, engine: Engine, relay: Relay) -> None:
    emit(bus, engine, "a", "b")
    assert relay.drain() == 2
    assert published(bus) == ["a", "b"]
    assert left(engine) == []


def test_what_the_disk_did_not_take_stays_and_is_published_again(
    bus: EventBus,
    engine: Engine,
    relay: Relay,
    server: EmbeddedServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = redis.Redis.from_url(server.url)
    emit(bus, engine, "a")
    relay.drain()
    client.config_set("appendfsync", "no")
    emit(bus, engine, "b")
    with monkeypatch.context() as patch:
        patch.setattr(fsync_barrier, "TIMEOUT_MS", 300)
        with pytest.raises(BusUnavailable, match="disk"):
            relay.drain()
        assert left(engine) == ["b"]
        # The next pass checks the disk first, so that nothing is published without success.
        with pytest.raises(BusUnavailable, match="disk"):
            relay.drain()
    assert published(bus) == ["a", "b"]
    client.config_set("appendfsync", "everysec")
    relay.drain()
    assert left(engine) == []
    assert published(bus) == ["a", "b"]


def test_a_server_without_a_file_is_reported_and_nothing_is_published(
    bus: EventBus, engine: Engine, relay: Relay, server: EmbeddedServer
) -> None:
    redis.Redis.from_url(server.url).config_set("appendonly", "no")
    emit(bus, engine, "a")
    with pytest.raises(BusUnavailable, match="appendonly yes"):
        relay.drain()
    assert left(engine) == ["a"]
    assert published(bus) == []


def test_a_server_that_came_back_without_it_gets_it_again(
    bus: EventBus,
    engine: Engine,
    relay: Relay,
    server: EmbeddedServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Redis lost the events between the append and the write to disk."""
    emit(bus, engine, "a")
    end = FsyncBarrier.end

    def forget_and_restart(disk: FsyncBarrier, run: str) -> None:
        client = redis.Redis.from_url(server.url)
        client.delete("celeriac:{order}:events", "celeriac:{order}:ids")
        server.restart()
        end(disk, run)

    with monkeypatch.context() as patch:
        patch.setattr(FsyncBarrier, "end", forget_and_restart)
        with pytest.raises(BusUnavailable):
            relay.drain()
    assert left(engine) == ["a"]
    assert published(bus) == []
    relay.drain()
    assert left(engine) == []
    assert published(bus) == ["a"]


def test_a_cluster_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="OUTBOX_FSYNC"):
        FsyncBarrier(
            Settings.load({}, redis_url="redis+cluster://127.0.0.1:7000", outbox_fsync=True)
        )


class Server:
    """A client of a server that answers `results` to SET and WAITAOF, and has the run id `run`."""

    def __init__(self, *results: object) -> None:
        self.results, self.run = list(results), "run 1"
        self.commands: list[object] = []

    def execute_many(self, commands: object) -> object:
        self.commands.append(commands)
        result = self.results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    def info(self, section: str) -> dict[str, str]:
        return {"server": {"run_id": self.run}}[section]


def barrier_of(server: Server, monkeypatch: pytest.MonkeyPatch) -> FsyncBarrier:
    opened: list[float] = []

    def open_client(url: str, *, answer_within: float) -> Server:
        opened.append(answer_within)
        return server

    monkeypatch.setattr(fsync_barrier, "open_client", open_client)
    settings = Settings.load({}, redis_url="redis://host:7000", namespace="shop")
    barrier = FsyncBarrier(settings)
    assert [5.0] == opened, "longer than WAITAOF waits, or it would end as a time-out"
    return barrier


WAIT = (("SET", "shop:relayed", "1"), ("WAITAOF", 1, 0, 3000))
ON_DISK, NOT_YET = (b"OK", [1, 0]), (b"OK", [0, 0])


def test_the_disk_is_checked_once_before_and_each_time_after_publishing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = Server(ON_DISK, ON_DISK, ON_DISK)
    barrier = barrier_of(server, monkeypatch)
    for _ in range(2):
        assert "run 1" == barrier.begin()
        barrier.end("run 1")
    assert [WAIT] * 3 == server.commands


@pytest.mark.parametrize(
    ("result", "error", "message"),
    [
        (NOT_YET, BusUnavailable, "has not written to its disk for 3 s"),
        ((b"OK", redis.ResponseError("unknown command")), BusUnavailable, "appendonly yes"),
        ((redis.ResponseError("READONLY"), [1, 0]), BusUnavailable, r"\(READONLY\)"),
        (redis.ConnectionError("away"), redis.ConnectionError, "away"),
    ],
)
def test_after_a_failure_the_disk_is_checked_before_anything_is_published(
    monkeypatch: pytest.MonkeyPatch, result: object, error: type[Exception], message: str
) -> None:
    server = Server(ON_DISK, result, result, ON_DISK)
    barrier = barrier_of(server, monkeypatch)
    run = barrier.begin()
    with pytest.raises(error, match=message):
        barrier.end(run)
    with pytest.raises(error, match=message):
        barrier.begin()
    assert "run 1" == barrier.begin()


def test_another_run_of_the_server_may_have_lost_the_events(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = Server(ON_DISK, ON_DISK)
    barrier = barrier_of(server, monkeypatch)
    run = barrier.begin()
    server.run = "run 2"
    with pytest.raises(BusUnavailable, match="host:7000 was restarted or failed over"):
        barrier.end(run)
