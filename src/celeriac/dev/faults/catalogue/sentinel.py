"""A failover: a replica, three Sentinels that promote it, and an address that follows them."""

from __future__ import annotations

import contextlib

from redis.exceptions import RedisError

from celeriac.connection import Client, open_client
from celeriac.dev.faults.scene import Scene, Skipped
from celeriac.dev.guard import guarded_popen
from celeriac.dev.ports import free_port
from celeriac.dev.server import start_server

MASTER = "log"
CONFIGURATION = """\
port {port}
dir {directory}
sentinel monitor {master} 127.0.0.1 {watched} 2
sentinel down-after-milliseconds {master} 1000
sentinel failover-timeout {master} 4000
"""


def failover(scene: Scene) -> None:
    proxy = scene.link(publisher=True)
    master = scene.server
    replica = start_server(
        scene.directory / "replica", extra=("--replicaof", "127.0.0.1", str(master.port))
    )
    scene.stack.push(replica)
    sentinels = [_sentinel(scene, n) for n in range(3)]
    client = open_client(replica.url, answer_within=5)
    scene.until(lambda: client.info("replication")["master_link_status"] == "up", "the replica", 15)
    scene.until(lambda: all(_sees_all(one) for one in sentinels), "the Sentinels", 20)
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


def _sentinel(scene: Scene, n: int) -> Client:
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
    return client


def _master(sentinel: Client) -> dict[str, str]:
    found = sentinel.execute_command("SENTINEL", "MASTER", MASTER)
    pairs = found.items() if isinstance(found, dict) else zip(found[::2], found[1::2], strict=True)
    return {_text(name): _text(value) for name, value in pairs}


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _sees_all(sentinel: Client) -> bool:
    seen = _master(sentinel)
    return seen["num-slaves"] == "1" and seen["num-other-sentinels"] == "2"


def _port(sentinels: list[Client]) -> int:
    return int(_master(sentinels[0])["port"])
