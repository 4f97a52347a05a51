"""Faults of events that kill their process: what they cost others, and their neighbours."""

from __future__ import annotations

import os
import signal
import time

from celeriac.dev.faults.apps.doing import POISON, SERVICE
from celeriac.dev.faults.fault import RABBITMQ, REDIS, Fault
from celeriac.dev.faults.rabbit_queue import RabbitQueue
from celeriac.dev.faults.scene import MissedGoal, Scene
from celeriac.dispatcher.flow import HINTS_AHEAD

PROCESSES = 2
BATCHES, GOOD = 40, 49  # of each batch one more event is poison
# Of the poisonous handler, of the two of each healthy event, and what the worker has prefetched.
MOST_QUEUED = 4 * HINTS_AHEAD * PROCESSES
PROBE_EVERY = 0.1


def beside_others(scene: Scene) -> None:
    """A burst of which 2 % kill their process, and handlers of the same worker that do not."""
    scene.worker(processes=PROCESSES)
    scene.publish("work.warm", 40)
    scene.publish("kind.warm", 40)
    scene.busy(80)
    for _ in range(BATCHES):
        scene.publish("kind.good", GOOD)
        scene.publish("kind.poison", 1, fails=True, data=POISON)
        scene.injected += 1
    healthy: set[str] = set()
    most = 0
    deadline = time.monotonic() + 60
    while len(scene.side.dead()) < BATCHES and time.monotonic() < deadline:
        healthy |= set(scene.publish("work.healthy", 1))
        most = max(most, queued(scene))
        scene.supervise()
        time.sleep(PROBE_EVERY)
    waited = scene.worst_wait(healthy, within=2 * scene.lease)
    scene.notes.append(f"healthy handlers waited {waited:.1f} s at most, {most} tasks queued")
    if waited > scene.lease:
        raise MissedGoal(f"a healthy handler waited {waited:.1f} s, over a lease")
    if most > MOST_QUEUED:
        raise MissedGoal(f"{most} tasks in Celery's queue, more than {MOST_QUEUED}")


def and_innocents(scene: Scene) -> None:
    """Chunks with poison in them wait for longer than their lease, and are sent again."""
    worker = scene.worker(processes=PROCESSES)
    scene.publish("kind.warm", 200)
    scene.whole()
    for _ in range(scene.times):
        pool = worker.children()
        for pid in pool:
            os.kill(pid, signal.SIGSTOP)
        scene.publish("kind.good", 100)
        scene.publish("kind.poison", 1, fails=True, data=POISON)
        scene.publish("kind.good", 100)
        # Nothing runs meanwhile, and each lease that is over makes a copy of a chunk.
        time.sleep(2.5 * scene.lease)
        for pid in pool:
            os.kill(pid, signal.SIGCONT)
        scene.injected += 1
        scene.whole()


def queued(scene: Scene) -> int:
    """How many tasks are in Celery's queue."""
    if scene.broker_url:
        return RabbitQueue(scene.broker_url).waiting()
    return int(scene.redis.llen(SERVICE))


FAULTS = (
    Fault(
        name="poison beside others",
        about="2,000 events of which 2 % kill their process; others wait a lease at most",
        inject=beside_others,
        on=(REDIS, RABBITMQ),
        once=True,
        # There it crashes process after process for ever, on the cores of both.
        stock=False,
        domains=("work", "kind"),
        bound=60.0,
        works="forty processes are replaced, one after the other",
    ),
    Fault(
        name="poison and innocents",
        about="chunks with poison wait for longer than their lease, and are sent again",
        inject=and_innocents,
        on=(REDIS, RABBITMQ),
        stock=False,
        domains=("kind",),
        lease=1.5,
        bound=30.0,
    ),
)
