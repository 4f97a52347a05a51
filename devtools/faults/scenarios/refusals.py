"""Faults of a server that refuses commands for some seconds and closes no connection."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from redis.exceptions import RedisError

from celeriac.store.redis.connection import Client
from devtools.faults.fault import RABBITMQ, REDIS, Fault, Inject
from devtools.faults.testbed import Testbed

REFUSES_FOR = 3.0  # seconds
ENDLESS = "while true do end"

# Refuses within the block, and no longer.
Refusal = Callable[[Testbed, Client], AbstractContextManager[None]]


@contextmanager
def no_replicas(testbed: Testbed, client: Client) -> Iterator[None]:
    client.config_set("min-replicas-to-write", 1)
    yield
    client.config_set("min-replicas-to-write", 0)


@contextmanager
def demoted(testbed: Testbed, client: Client) -> Iterator[None]:
    """A replica of a master that is not there, and promoted again."""
    client.replicaof("127.0.0.1", 1)
    yield
    client.replicaof("NO", "ONE")


@contextmanager
def failed_snapshot(testbed: Testbed, client: Client) -> Iterator[None]:
    """A directory is where the snapshot should be written."""
    directory = Path(client.config_get("dir")["dir"])
    snapshot = directory / client.config_get("dbfilename")["dbfilename"]
    snapshot.unlink(missing_ok=True)
    (snapshot / "in the way").mkdir(parents=True)
    client.config_set("save", "3600 1000000")
    client.bgsave()
    testbed.until(lambda: _snapshot_status(client) == "err", "the snapshot to fail", 10)
    yield
    shutil.rmtree(snapshot)
    client.bgsave()
    testbed.until(lambda: _snapshot_status(client) == "ok", "a snapshot", 10)
    client.config_set("save", "")


def _snapshot_status(client: Client) -> str:
    persistence = client.info("persistence")
    return (
        "" if persistence["rdb_bgsave_in_progress"] else str(persistence["rdb_last_bgsave_status"])
    )


@contextmanager
def long_script(testbed: Testbed, client: Client) -> Iterator[None]:
    client.config_set("lua-time-limit", 200)

    def run() -> None:
        # SCRIPT KILL ends it with an error.
        with suppress(RedisError):
            testbed.redis.eval(ENDLESS, 0)

    thread = threading.Thread(target=run, name="endless script", daemon=True)
    thread.start()
    yield
    client.script_kill()
    thread.join(10)


def refuse(code: str, refusal: Refusal) -> Inject:
    """The server refuses with this code while events flow, and then takes commands again."""

    def inject(testbed: Testbed) -> None:
        testbed.worker()
        client = testbed.redis
        with testbed.stream():
            for _ in range(testbed.times):
                testbed.busy()
                with refusal(testbed, client):
                    testbed.injected += 1
                    time.sleep(REFUSES_FOR)
                testbed.restored()
                refused = refusals(client, code)
                testbed.notes.append(f"{refused} commands refused")
                # Stock Celery has nothing in Redis where RabbitMQ is its broker.
                if testbed.ours and not refused:
                    raise AssertionError(f"the server never refused with {code}")
                testbed.busy()

    return inject


def refusals(client: Client, code: str) -> int:
    """Return how many commands the server has refused with this code since its start."""
    errors = client.info("errorstats").get(f"errorstat_{code}", {})
    return int(errors.get("count", 0))


FAULTS = tuple(
    Fault(name=f"Redis: {code}", about=about, inject=refuse(code, refusal), on=(REDIS, RABBITMQ))
    for code, refusal, about in (
        ("NOREPLICAS", no_replicas, "min-replicas-to-write, for three seconds"),
        (
            "READONLY",
            demoted,
            "demoted and promoted again after three seconds; its connections live on",
        ),
        ("MISCONF", failed_snapshot, "a snapshot failed; writes are refused for three seconds"),
        ("BUSY", long_script, "a script runs for three seconds, and is killed then"),
    )
)
