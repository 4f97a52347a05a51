"""Failovers to a replica: unplanned and planned, with Sentinels and with an address that moves."""

from __future__ import annotations

import contextlib
import time

from redis.exceptions import RedisError, ResponseError

from celeriac.store.redis.connection import Client, open_client
from celeriac.store.redis.sentinel import QUERY_INTERVAL
from celeriac.testing.ports import free_port
from celeriac.testing.process_guard import guarded_popen
from celeriac.testing.server import EmbeddedServer, start_server
from devtools.faults.fault import Fault
from devtools.faults.testbed import Skipped, Testbed

MASTER = "log"
CONFIGURATION = """\
port {port}
dir {directory}
sentinel monitor {master} 127.0.0.1 {watched} 2
sentinel down-after-milliseconds {master} 1000
sentinel failover-timeout {master} 4000
"""


def failover(testbed: Testbed) -> None:
    """The master dies. A proxy follows the Sentinels."""
    proxy = testbed.link(publisher=True)
    master, replica = testbed.server, _replica(testbed)
    sentinels = _sentinels(testbed)
    testbed.worker()
    with testbed.stream():
        testbed.busy(120)
        master.kill()
        testbed.injected += 1
        testbed.until(lambda: _port(sentinels) == replica.port, "the promotion", 30)
        testbed.server = replica
        testbed.follow(replica.url)
        proxy.retarget(replica.port)
        testbed.restored()
        testbed.busy(120)


def move_address(testbed: Testbed) -> None:
    """The master hands over without a loss and becomes a replica.

    Its address is a proxy, which then leads to the new master. Connections to the old one stay.
    """
    proxy = testbed.link(publisher=True)
    master, replica = testbed.redis, _replica(testbed)
    testbed.worker()
    with testbed.stream():
        testbed.busy(120)
        master.execute_command("FAILOVER", "TO", "127.0.0.1", replica.port, "TIMEOUT", 10_000)
        testbed.until(lambda: master.info("replication")["role"] == "slave", "the failover", 15)
        testbed.injected += 1
        testbed.server = replica
        testbed.follow(replica.url)
        proxy.target = replica.port
        testbed.restored()
        testbed.busy(120)


def hand_over(testbed: Testbed) -> None:
    """The Sentinels promote the replica while the master is up, and demote that, with its
    connections, some ten seconds later. Until then Celery sends and reads delivery tasks there."""
    replica, sentinels = _replica(testbed), _sentinels(testbed)
    hosts = ",".join(f"127.0.0.1:{port}" for port, _ in sentinels)
    testbed.connect_to(f"redis+sentinel://{hosts}/{MASTER}/0")
    testbed.worker()
    with testbed.stream():
        testbed.busy(120)
    # Redis forgets what the old master takes after the promotion: events, so none is published
    # then, and results, so what ran until the bus has left it may run again.
    testbed.publish("work.backlog", 100)
    with testbed.fault_window():
        _fail_over(testbed, sentinels[0])
        testbed.until(lambda: _port(sentinels) == replica.port, "the promotion", 30)
        time.sleep(2 * QUERY_INTERVAL)
    testbed.server = replica
    testbed.follow(replica.url)
    testbed.restored()
    with testbed.stream():
        demoted_by = time.monotonic() + 15
        while time.monotonic() < demoted_by:
            testbed.busy(20)


def _replica(testbed: Testbed) -> EmbeddedServer:
    """A replica that has all that the server has."""
    replica = start_server(
        testbed.directory / "replica", extra=("--replicaof", "127.0.0.1", str(testbed.server.port))
    )
    testbed.stack.push(replica)
    client = open_client(replica.url, answer_within=5)
    testbed.until(
        lambda: client.info("replication")["master_link_status"] == "up", "the replica", 15
    )
    return replica


# Its port, and a client of it.
Sentinel = tuple[int, Client]


def _sentinels(testbed: Testbed) -> list[Sentinel]:
    """Three, which know the replica and each other."""
    sentinels = [_sentinel(testbed, n) for n in range(3)]
    testbed.until(lambda: all(_sees_all(sentinel) for sentinel in sentinels), "the Sentinels", 20)
    return sentinels


def _fail_over(testbed: Testbed, sentinel: Sentinel) -> None:
    def begun() -> bool:
        # NOGOODSLAVE until it has enough information on the replica.
        with contextlib.suppress(ResponseError):
            sentinel[1].execute_command("SENTINEL", "FAILOVER", MASTER)
            return True
        return False

    testbed.until(begun, "a replica to promote", 20)


def _sentinel(testbed: Testbed, n: int) -> Sentinel:
    directory = testbed.directory / f"sentinel{n}"
    directory.mkdir()
    port = free_port()
    configuration = directory / "sentinel.conf"
    configuration.write_text(
        CONFIGURATION.format(
            port=port, directory=directory, master=MASTER, watched=testbed.server.port
        )
    )
    output = (directory / "log").open("wb")
    testbed.stack.enter_context(output)
    process = guarded_popen(
        [str(testbed.server.binary), str(configuration), "--sentinel"], stdout=output, stderr=output
    )
    testbed.stack.push(process)
    client = open_client(f"redis://127.0.0.1:{port}/0", answer_within=5)

    def answers() -> bool:
        if process.poll() is not None:
            text = (directory / "log").read_text(errors="replace")
            raise Skipped(f"no Sentinel from {testbed.server.binary} ({text[-200:].strip()})")
        with contextlib.suppress(RedisError):
            return bool(client.ping())
        return False

    testbed.until(answers, "a Sentinel", 10)
    return port, client


def _master(sentinel: Sentinel) -> dict[str, str]:
    master = sentinel[1].execute_command("SENTINEL", "MASTER", MASTER)
    pairs = (
        master.items() if isinstance(master, dict) else zip(master[::2], master[1::2], strict=True)
    )
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
