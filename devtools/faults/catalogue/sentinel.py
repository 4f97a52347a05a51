"""Failovers to a replica: unplanned and planned, with Sentinels and with an address that moves."""

from __future__ import annotations

import contextlib
import time

from redis.exceptions import RedisError, ResponseError

from celeriac.store.redis.connection import Client, open_client
from celeriac.store.redis.sentinel import ASK_EVERY
from celeriac.testing.ports import free_port
from celeriac.testing.process_guard import guarded_popen
from celeriac.testing.server import EmbeddedServer, start_server
from devtools.faults.fault import Fault
from devtools.faults.scene import Scene, Skipped

MASTER = "log"
CONFIGURATION = """\
port {port}
dir {directory}
sentinel monitor {master} 127.0.0.1 {watched} 2
sentinel down-after-milliseconds {master} 1000
sentinel failover-timeout {master} 4000
"""


def failover(scene: Scene) -> None:
    """The master dies. A proxy follows the Sentinels."""
    proxy = scene.link(publisher=True)
    master, replica = scene.server, _replica(scene)
    sentinels = _sentinels(scene)
    scene.worker()
    with scene.flow():
        scene.busy(120)
        master.kill()
        scene.injected += 1
        scene.until(lambda: _port(sentinels) == replica.port, "the promotion", 30)
        scene.server = replica
        scene.follow(replica.url)
        proxy.retarget(replica.port)
        scene.whole()
        scene.busy(120)


def move_address(scene: Scene) -> None:
    """The master hands over without a loss and becomes a replica. Its address, which a proxy
    stands for, leads to the new one from then on; connections to the old one live on."""
    proxy = scene.link(publisher=True)
    master, replica = scene.redis, _replica(scene)
    scene.worker()
    with scene.flow():
        scene.busy(120)
        master.execute_command("FAILOVER", "TO", "127.0.0.1", replica.port, "TIMEOUT", 10_000)
        scene.until(lambda: master.info("replication")["role"] == "slave", "the failover", 15)
        scene.injected += 1
        scene.server = replica
        scene.follow(replica.url)
        proxy.target = replica.port
        scene.whole()
        scene.busy(120)


def hand_over(scene: Scene) -> None:
    """The Sentinels promote the replica while the master is up, and demote that, with its
    connections, some ten seconds later. Until then Celery's hints are sent and read there."""
    replica, sentinels = _replica(scene), _sentinels(scene)
    hosts = ",".join(f"127.0.0.1:{port}" for port, _ in sentinels)
    scene.connect_to(f"redis+sentinel://{hosts}/{MASTER}/0")
    scene.worker()
    with scene.flow():
        scene.busy(120)
    # Redis forgets what the old master takes after the promotion: events, so none is published
    # then, and results, so what ran until the bus has left it may run again.
    scene.publish("work.backlog", 100)
    with scene.harm():
        _fail_over(scene, sentinels[0])
        scene.until(lambda: _port(sentinels) == replica.port, "the promotion", 30)
        time.sleep(2 * ASK_EVERY)
    scene.server = replica
    scene.follow(replica.url)
    scene.whole()
    with scene.flow():
        demoted_by = time.monotonic() + 15
        while time.monotonic() < demoted_by:
            scene.busy(20)


def _replica(scene: Scene) -> EmbeddedServer:
    """A replica that has all that the server has."""
    replica = start_server(
        scene.directory / "replica", extra=("--replicaof", "127.0.0.1", str(scene.server.port))
    )
    scene.stack.push(replica)
    client = open_client(replica.url, answer_within=5)
    scene.until(lambda: client.info("replication")["master_link_status"] == "up", "the replica", 15)
    return replica


# Its port, and a client of it.
Sentinel = tuple[int, Client]


def _sentinels(scene: Scene) -> list[Sentinel]:
    """Three, which know the replica and each other."""
    sentinels = [_sentinel(scene, n) for n in range(3)]
    scene.until(lambda: all(_sees_all(one) for one in sentinels), "the Sentinels", 20)
    return sentinels


def _fail_over(scene: Scene, sentinel: Sentinel) -> None:
    def begun() -> bool:
        # NOGOODSLAVE until it knows the replica well enough.
        with contextlib.suppress(ResponseError):
            sentinel[1].execute_command("SENTINEL", "FAILOVER", MASTER)
            return True
        return False

    scene.until(begun, "a replica to promote", 20)


def _sentinel(scene: Scene, n: int) -> Sentinel:
    directory = scene.directory / f"sentinel{n}"
    directory.mkdir()
    port = free_port()
    configuration = directory / "sentinel.conf"
    configuration.write_text(
        CONFIGURATION.format(
            port=port, directory=directory, master=MASTER, watched=scene.server.port
        )
    )
    log = (directory / "log").open("wb")
    scene.stack.enter_context(log)
    process = guarded_popen(
        [str(scene.server.binary), str(configuration), "--sentinel"], stdout=log, stderr=log
    )
    scene.stack.push(process)
    client = open_client(f"redis://127.0.0.1:{port}/0", answer_within=5)

    def answers() -> bool:
        if process.poll() is not None:
            said = (directory / "log").read_text(errors="replace")
            raise Skipped(f"no Sentinel from {scene.server.binary} ({said[-200:].strip()})")
        with contextlib.suppress(RedisError):
            return bool(client.ping())
        return False

    scene.until(answers, "a Sentinel", 10)
    return port, client


def _master(sentinel: Sentinel) -> dict[str, str]:
    found = sentinel[1].execute_command("SENTINEL", "MASTER", MASTER)
    pairs = found.items() if isinstance(found, dict) else zip(found[::2], found[1::2], strict=True)
    return {_text(name): _text(value) for name, value in pairs}


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _sees_all(sentinel: Sentinel) -> bool:
    seen = _master(sentinel)
    return seen["num-slaves"] == "1" and seen["num-other-sentinels"] == "2"


def _port(sentinels: list[Sentinel]) -> int:
    return int(_master(sentinels[0])["port"])


FAULTS = (
    Fault(
        name="Redis: failover to a replica",
        about="three Sentinels promote it after the master's SIGKILL; a proxy follows them",
        inject=failover,
        once=True,
    ),
    Fault(
        name="Redis: planned failover, its address moves",
        about="the master becomes a replica; connections to it live on, new ones go elsewhere",
        inject=move_address,
        once=True,
        # Its publisher never leaves the old master.
        stock=False,
    ),
    Fault(
        name="Redis: planned failover by Sentinels",
        about="they promote a replica, and demote the master, which is up, ten seconds later",
        inject=hand_over,
        once=True,
        stock=False,
        lease=10.0,
    ),
)
