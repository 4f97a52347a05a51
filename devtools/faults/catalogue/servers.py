"""Faults of the server: it stops, dies, freezes, forgets, or is full."""

from __future__ import annotations

import contextlib
import os
import signal
import time

from redis.exceptions import RedisError

from devtools.faults.catalogue.refusals import refusals
from devtools.faults.fault import Fault
from devtools.faults.scene import Scene
from devtools.faults.side import QUEUES

DOUBLE = """
for _, queue in ipairs(KEYS) do
  for _, message in ipairs(redis.call('LRANGE', queue, 0, -1)) do
    redis.call('LPUSH', queue, message)
  end
end
"""


def restart(scene: Scene) -> None:
    scene.worker()
    with scene.flow():
        for _ in range(scene.times):
            scene.busy()
            scene.server.stop()
            time.sleep(1)
            scene.server.start()
            scene.injected += 1
            scene.whole()
        scene.busy()


def kill(scene: Scene) -> None:
    scene.worker()
    with scene.flow():
        for _ in range(scene.times):
            scene.busy()
            scene.server.kill()
            time.sleep(0.5)
            scene.server.start()
            scene.injected += 1
            scene.whole()
        scene.busy()


def freeze(scene: Scene) -> None:
    scene.worker()
    with scene.flow():
        scene.busy()
        # Longer than the lease, which nobody could renew.
        with scene.harm():
            os.kill(scene.server.pid, signal.SIGSTOP)
            try:
                time.sleep(10)
            finally:
                os.kill(scene.server.pid, signal.SIGCONT)
        scene.whole()


def kill_clients(scene: Scene) -> None:
    scene.worker()
    with scene.flow():
        for _ in range(3 * scene.times):
            scene.busy(30)
            for kind in ("normal", "pubsub"):
                with contextlib.suppress(RedisError):
                    scene.redis.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
            scene.injected += 1
            scene.whole()
            time.sleep(0.3)


def delete_queue(scene: Scene) -> None:
    scene.worker()
    with scene.flow():
        for _ in range(scene.times):
            scene.busy()
            # Until there was something in it.
            if scene.until(lambda: scene.redis.delete(*QUEUES), "a queue", 5, fatal=False):
                scene.injected += 1
                scene.whole()


def double_queue(scene: Scene) -> None:
    scene.worker()
    with scene.flow():
        for _ in range(scene.times):
            scene.busy()
            scene.redis.eval(DOUBLE, len(QUEUES), *QUEUES)
            scene.injected += 1
            scene.whole()


def fill(scene: Scene) -> None:
    """Nothing may be written for three seconds; what is there must be worked off all the same."""
    scene.worker()
    client = scene.redis
    with scene.flow():
        for _ in range(scene.times):
            scene.busy()
            used = int(client.info("memory")["used_memory"])
            client.config_set("maxmemory", max(1, used - 100_000))
            scene.injected += 1
            time.sleep(3)
            refused = refusals(client, "OOM")
            scene.notes.append(f"{refused} writes refused")
            if not refused:
                raise AssertionError("the server was never full")
            client.config_set("maxmemory", 0)
            scene.whole()
            scene.busy()


FAULTS = (
    Fault(
        name="Redis: restart",
        about="with AOF, away for a second",
        inject=restart,
        quick=True,
    ),
    Fault(
        name="Redis: SIGKILL, appendfsync always",
        about="under flow, away for half a second",
        inject=kill,
        server=("--appendfsync", "always"),
    ),
    Fault(
        name="Redis: SIGKILL, appendfsync everysec",
        about="under flow, away for half a second",
        inject=kill,
    ),
    Fault(
        name="Redis: SIGSTOP 10 s",
        about="longer than the lease",
        inject=freeze,
        once=True,
    ),
    Fault(
        name="Redis: CLIENT KILL of all",
        about="every connection at once, under flow",
        inject=kill_clients,
        quick=True,
    ),
    Fault(
        name="Celery queue deleted",
        about="DEL while messages are in it",
        inject=delete_queue,
        quick=True,
        # One lease heals all at once; one delivery at a time would take a minute.
        bound=12.0,
    ),
    Fault(
        name="Celery queue doubled",
        about="each message in it is there twice",
        inject=double_queue,
    ),
    Fault(
        name="Redis: maxmemory reached",
        about="noeviction, for three seconds; then released",
        inject=fill,
    ),
)
