"""Faults of events that kill their process: what they cost others, and their neighbours."""

from __future__ import annotations

import os
import signal
import time
from functools import partial

from celeriac.delivery import MAX_LOST_RUNS
from celeriac.dispatcher.task_sender import TASKS_AHEAD
from devtools.faults.apps.doing import FATAL, POISON, SERVICE
from devtools.faults.fault import RABBITMQ, REDIS, Fault
from devtools.faults.rabbit_queue import RabbitQueue
from devtools.faults.scene import MissedGoal, Scene
from devtools.faults.side import handlers_of
from devtools.faults.worker import Worker

PROCESSES = 2
BATCHES, GOOD = 40, 49  # of each batch one more event is poison
# Of the poisonous handler, of the two of each healthy event, and what the worker has prefetched.
MOST_QUEUED = 4 * TASKS_AHEAD * PROCESSES
PROBE_EVERY = 0.1
DEATHS = 8  # more than any retries here, and fewer than are taken for poison
FOUND_WITHIN = 150.0  # seconds; the last waits between its runs take ten leases each at most


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
    for number in range(scene.times):
        # The last poison, too, has ended its processes: the pool is to stay as it is.
        scene.until(partial(has_dead, scene, number), "the poison to be found", 20)
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


def has_dead(scene: Scene, count: int) -> bool:
    return len(scene.side.dead()) >= count


def workers_killed(scene: Scene) -> None:
    """The whole worker dies far more often than its handlers may fail: in the middle of chunks, and
    whenever a slow event, which ran in a worker that died, runs again."""
    worker = scene.worker(processes=PROCESSES)
    scene.publish("kind.warm", 200)
    scene.whole()
    scene.publish("slow.one", PROCESSES)
    for _ in range(DEATHS):
        scene.publish("kind.good", 30)
        scene.until(partial(slow_runs_or_is_dead, scene, worker), "a slow event", FOUND_WITHIN)
        with scene.harm(worker):
            worker.kill_group()
        worker = scene.worker(processes=PROCESSES)
    scene.whole()


def slow_runs_or_is_dead(scene: Scene, worker: Worker) -> bool:
    """Whether a process of the worker is at a slow event, or one was dead-lettered."""
    if scene.side.dead():
        return True
    pids = set(worker.children())
    slow = set(handlers_of("slow.one"))
    return any(
        run.ended is None and run.pid in pids and run.delivery[0] in slow
        for run in scene.store.runs()
    )


def ends_workers(scene: Scene) -> None:
    """One event kills its whole worker each time, and others of its handler are under way there."""
    scene.worker(processes=PROCESSES)
    scene.publish("kind.warm", 200)
    scene.whole()
    scene.publish("kind.good", 100)
    scene.publish("kind.poison", 1, fails=True, data=FATAL)
    scene.publish("kind.good", 100)
    scene.injected += 1

    def found() -> bool:
        scene.supervise()
        if scene.side.held() < 100:
            scene.publish("kind.good", 20)
        return bool(scene.side.dead())

    scene.until(found, "the poison to be found", FOUND_WITHIN, pause=PROBE_EVERY)
    if scene.restarted > MAX_LOST_RUNS:
        raise MissedGoal(f"{scene.restarted} workers died, more than {MAX_LOST_RUNS}")


def queued(scene: Scene) -> int:
    """How many tasks are in Celery's queue."""
    if scene.broker_url:
        return RabbitQueue(scene.broker_url).waiting()
    return int(scene.redis.llen(SERVICE))


FAULTS = (
    Fault(
        name="poison among others",
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
    Fault(
        name="workers killed, and innocents",
        about="the whole worker, eight times, whenever the same slow event runs again",
        inject=workers_killed,
        on=(REDIS, RABBITMQ),
        once=True,
        stock=False,
        domains=("kind", "slow"),
        lease=1.0,
        bound=30.0,
        works="what was under way in three workers that died waits for up to ten leases",
    ),
    Fault(
        name="poison that ends its worker",
        about="one event kills the whole worker each time; its handler has no retries",
        inject=ends_workers,
        on=(REDIS, RABBITMQ),
        once=True,
        stock=False,
        exits=True,
        domains=("kind",),
        lease=1.0,
        bound=60.0,
        works="what was under way in three workers that died waits for up to ten leases",
    ),
)
