"""A bus whose URL names Sentinels: real ones, which hand over to a replica under living links."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis

import celeriac.store.redis.sentinel
from celeriac import BusUnavailable, Event, EventBus
from celeriac.dispatcher import Chunk
from celeriac.dispatcher.chunk import Item
from celeriac.event import EventHeader
from celeriac.store.redis.connection import open_client
from celeriac.testing.ports import free_port
from celeriac.testing.process_guard import guarded_popen
from celeriac.testing.server import EmbeddedServer, start_server
from celeriac.worker.celery_fixes.old_master import OldMaster
from celeriac.worker.celery_sender import delivery_sender
from devtools.fork_server import fork_server

PASSWORD = "s3cr3t"


@dataclass
class Watched:
    """A master and its replica, watched by a Sentinel."""

    master: EmbeddedServer
    replica: EmbeddedServer
    port: int
    sentinel: Any
    closed_port: int

    def url(self) -> str:
        # The first of them does not answer.
        hosts = f"127.0.0.1:{self.closed_port},127.0.0.1:{self.port}"
        return f"redis+sentinel://:{PASSWORD}@{hosts}/mymaster/1"

    def master_port(self) -> int:
        found = self.sentinel.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster")
        return int(found[1])


def until(true: Callable[[], Any], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while True:
        with contextlib.suppress(redis.RedisError):
            if true():
                return
        assert time.monotonic() < end, true
        time.sleep(0.05)


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    with ExitStack() as stack:
        # Bound and not listening: it refuses connections, and no other process can take it.
        closed = stack.enter_context(socket.socket())
        closed.bind(("127.0.0.1", 0))
        # A server that wants a password is not asked whether it is ready.
        at_once = ("--repl-diskless-sync-delay", "0")
        master = start_server(tmp_path / "master", extra=at_once)
        stack.push(master)
        replica = start_server(tmp_path / "replica")
        stack.push(replica)
        for server in (master, replica):
            client: Any = open_client(server.url, answer_within=5)
            client.config_set("masterauth", PASSWORD)
            client.config_set("requirepass", PASSWORD)
        # Not before: a replica whose handshake began without a password waits for a minute.
        client.execute_command("REPLICAOF", "127.0.0.1", master.port)
        port, directory = free_port(), tmp_path / "sentinel"
        directory.mkdir()
        configuration = directory / "sentinel.conf"
        configuration.write_text(
            f"port {port}\ndir {directory}\nbind 127.0.0.1\n"
            f"sentinel monitor mymaster 127.0.0.1 {master.port} 1\n"
            f"sentinel auth-pass mymaster {PASSWORD}\n"
            "sentinel down-after-milliseconds mymaster 1000\n"
            "sentinel failover-timeout mymaster 3000\n"
        )
        event_log = stack.enter_context((directory / "log").open("wb"))
        stack.push(
            guarded_popen(
                [str(master.binary), str(configuration), "--sentinel"],
                stdout=event_log,
                stderr=event_log,
            )
        )
        sentinel: Any = open_client(f"redis://127.0.0.1:{port}/0", answer_within=5)
        until(lambda: len(sentinel.execute_command("SENTINEL", "REPLICAS", "mymaster")) == 1)
        theirs: Any = open_client(f"redis://:{PASSWORD}@127.0.0.1:{replica.port}", answer_within=5)
        until(lambda: theirs.info("replication")["master_link_status"] == "up")
        yield Watched(master, replica, port, sentinel, closed.getsockname()[1])


def fail_over(watched: Watched) -> None:
    """As planned: both servers stay up, and the old master keeps its connections."""

    def begun() -> bool:
        # -NOGOODSLAVE until it knows the replica well enough.
        watched.sentinel.execute_command("SENTINEL", "FAILOVER", "mymaster")
        return True

    until(begun)
    until(lambda: watched.master_port() == watched.replica.port)


def stored(watched: Watched, server: EmbeddedServer) -> int:
    return int(direct(server).xlen("celeriac:{order}:events"))


def direct(server: EmbeddedServer) -> Any:
    """A client past the Sentinels."""
    return open_client(f"redis://:{PASSWORD}@127.0.0.1:{server.port}/1", answer_within=5)


@pytest.fixture(autouse=True)
def ask_always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the half second in which the old master may be written to."""
    monkeypatch.setattr(celeriac.store.redis.sentinel, "QUERY_INTERVAL", 0)


def test_emits_follow_the_master_over_a_failover_with_living_connections(watched: Watched) -> None:
    bus = EventBus(redis_url=watched.url(), source="test", emit_timeout=10)
    bus.emit("order.placed", 1)
    assert stored(watched, watched.master) == 1
    fail_over(watched)
    bus.emit("order.placed", 2)
    assert bus.emit_many([("order.placed", n) for n in range(3)]) == 3
    assert stored(watched, watched.replica) == 5


def test_coroutines_follow_too(watched: Watched) -> None:
    bus = EventBus(redis_url=watched.url(), source="test", emit_timeout=10)

    async def run() -> None:
        await bus.aemit("order.placed", 1)
        await asyncio.to_thread(fail_over, watched)
        await bus.aemit("order.placed", 2)
        await bus.aemit_many([("order.placed", n) for n in range(3)])
        await bus.aclose()

    asyncio.run(run())
    assert stored(watched, watched.replica) == 5


def test_celerys_messages_go_to_the_master(watched: Watched) -> None:
    bus = EventBus(service="billing", redis_url=watched.url())
    with bus.app.connection_for_write() as connection:
        connection.ensure_connection(max_retries=3)
        queue = connection.SimpleQueue("billing")
        queue.put({"a": 1})
        assert queue.get(timeout=5).payload == {"a": 1}
    client: Any = open_client(watched.url(), answer_within=5)
    assert client.exists("_kombu.binding.billing")
    bus.app.close()


def charge(event: Event) -> None: ...


def billing(watched: Watched) -> tuple[EventBus, Chunk]:
    bus = EventBus(service="billing", redis_url=watched.url())
    bus.on("order.placed")(charge)
    handler = bus.service.handlers["billing.charge"]
    event = EventHeader(id="a", source="shop", type="order.placed")
    return bus, Chunk(handler, handler.group("order"), (Item("1-0", 0, event),))


def test_tasks_follow_when_the_sentinels_demote_the_old_master(watched: Watched) -> None:
    """They promote the new one first. Until then both take delivery tasks, and workers read the
    old one's queue too."""
    bus, chunk = billing(watched)
    send = delivery_sender(bus.app, bus.service, watched=lambda: False)
    send(chunk)
    fail_over(watched)
    old, new = (direct(server) for server in (watched.master, watched.replica))
    until(lambda: old.info("replication")["role"] == "slave", 40)
    new.delete("billing")
    failures = 0
    for _ in range(3):
        try:
            send(chunk)
        except BusUnavailable:
            failures += 1
    assert failures <= 1
    assert new.llen("billing") == 3 - failures
    bus.app.close()


def test_tasks_leave_an_old_master_before_that(watched: Watched) -> None:
    bus, chunk = billing(watched)
    old, new = (direct(server) for server in (watched.master, watched.replica))
    master = OldMaster(bus.service)
    send = delivery_sender(bus.app, bus.service, watched=lambda: False, old_master=master)
    bus.emit("order.placed")
    send(chunk)
    fail_over(watched)
    new.delete("billing")
    bus.emit("order.placed")

    def follows() -> bool:
        send(chunk)
        return bool(new.llen("billing"))

    until(follows, 10)
    assert old.info("replication")["role"] == "master"
    bus.app.close()


WORKER = """\
import os

from celeriac import Event, EventBus

# A task that was lost runs when its lease ends: long after the test.
bus = EventBus(service="billing", redis_url=os.environ["URL"], lease=300)
app = bus.app


@bus.on("order.placed")
def note(event: Event) -> None:
    with open(os.environ["RAN"], "a") as ran:
        ran.write(f"{event.id}\\n")
"""


@contextlib.contextmanager
def worker(watched: Watched, directory: Path) -> Iterator[Path]:
    """A worker that is ready, and the file of the events that it ran."""
    (directory / "billing.py").write_text(WORKER)
    event_log, ran = directory / "worker.log", directory / "ran"
    ran.touch()
    command = [sys.executable, "-m", "celery", "-A", "billing", "worker", "-c", "1"]
    command += ["--loglevel", "info", "--without-mingle", "--without-gossip"]
    environment = {**os.environ, "URL": watched.url(), "RAN": str(ran)}
    with event_log.open("wb") as out, ExitStack() as stack:
        stack.push(
            fork_server().popen(command, env=environment, cwd=directory, stdout=out, stderr=out)
        )
        until(lambda: " ready." in event_log.read_text(), 60)
        yield ran


def consumes(server: EmbeddedServer) -> bool:
    """Whether a worker waits for delivery tasks on the server."""
    return any(client["cmd"] == "brpop" for client in direct(server).client_list())


def test_a_worker_leaves_an_old_master_that_is_paused(watched: Watched, tmp_path: Path) -> None:
    """As operators pause it, so that nothing is written there any more."""
    with worker(watched, tmp_path) as ran:
        until(lambda: consumes(watched.master))
        direct(watched.master).execute_command("CLIENT", "PAUSE", 120_000, "WRITE")
        fail_over(watched)
        event = EventBus(redis_url=watched.url(), source="test").emit("order.placed")
        until(lambda: event in ran.read_text(), 60)
        until(lambda: consumes(watched.replica), 60)
