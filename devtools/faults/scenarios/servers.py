"""Faults of the server: it stops, dies, freezes, forgets, or is full."""

from __future__ import annotations

import contextlib
import os
import signal
import time

from redis.exceptions import RedisError

from devtools.faults.fault import Fault
from devtools.faults.scenarios.refusals import refusals
from devtools.faults.system import QUEUES
from devtools.faults.testbed import Testbed

DOUBLE = """
for _, queue in ipairs(KEYS) do
  for _, message in ipairs(redis.call('LRANGE', queue, 0, -1)) do
    redis.call('LPUSH', queue, message)
  end
end
"""


def restart(testbed: Testbed) -> None:
    testbed.worker()
    with testbed.stream():
        for _ in range(testbed.times):
            testbed.busy()
            testbed.server.stop()
            time.sleep(1)
            testbed.server.start()
            testbed.injected += 1
            testbed.restored()
        testbed.busy()


def kill(testbed: Testbed) -> None:
    testbed.worker()
    with testbed.stream():
        for _ in range(testbed.times):
            testbed.busy()
            testbed.server.kill()
            time.sleep(0.5)
            testbed.server.start()
            testbed.injected += 1
            testbed.restored()
        testbed.busy()


def freeze(testbed: Testbed) -> None:
    testbed.worker()
    with testbed.stream():
        testbed.busy()
        # Longer than the lease, which no process could renew.
        with testbed.fault_window():
            os.kill(testbed.server.pid, signal.SIGSTOP)
            try:
                time.sleep(10)
            finally:
                os.kill(testbed.server.pid, signal.SIGCONT)
        testbed.restored()


def kill_clients(testbed: Testbed) -> None:
    testbed.worker()
    with testbed.stream():
        for _ in range(3 * testbed.times):
            testbed.busy(30)
            for kind in ("normal", "pubsub"):
                with contextlib.suppress(RedisError):
                    testbed.redis.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
            testbed.injected += 1
            testbed.restored()
            time.sleep(0.3)


def delete_queue(testbed: Testbed) -> None:
    testbed.worker()
    with testbed.stream():
        for _ in range(testbed.times):
            testbed.busy()
            # Until there was something in it.
            if testbed.until(lambda: testbed.redis.delete(*QUEUES), "a queue", 5, fatal=False):
                testbed.injected += 1
                testbed.restored()


def double_queue(testbed: Testbed) -> None:
    testbed.worker()
    with testbed.stream():
        for _ in range(testbed.times):
            testbed.busy()
            testbed.redis.eval(DOUBLE, len(QUEUES), *QUEUES)
            testbed.injected += 1
            testbed.restored()


def fill(testbed: Testbed) -> None:
    """Nothing may be written for three seconds; what is there must be worked off all the same."""
    testbed.worker()
    client = testbed.redis
    with testbed.stream():
        for _ in range(testbed.times):
            testbed.busy()
            used = int(client.info("memory")["used_memory"])
            client.config_set("maxmemory", max(1, used - 100_000))
            testbed.injected += 1
            time.sleep(3)
            refused = refusals(client, "OOM")
            testbed.notes.append(f"{refused} writes refused")
            if not refused:
                raise AssertionError("the server was never full")
            client.config_set("maxmemory", 0)
            testbed.restored()
            testbed.busy()


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
        # One lease recovers all of them at once; one at a time would take a minute.
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
