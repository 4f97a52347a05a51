"""Faults of events that kill their process: what they cost others, and their neighbours."""

from __future__ import annotations

import os
import signal
import time
from functools import partial

from celeriac.delivery import MAX_LOST_RUNS
from celeriac.dispatcher.task_sender import TASKS_AHEAD
from devtools.faults.apps.handlers import FATAL, POISON, SERVICE
from devtools.faults.fault import RABBITMQ, REDIS, Fault
from devtools.faults.rabbit_queue import RabbitQueue
from devtools.faults.system import handlers_of
from devtools.faults.testbed import MissedGoal, Testbed
from devtools.faults.worker import Worker

PROCESSES = 2
BATCHES, GOOD = 40, 49  # of each batch one more event is poison
# Of the poisonous handler, of the two of each healthy event, and what the worker has prefetched.
MAX_QUEUED = 4 * TASKS_AHEAD * PROCESSES
PROBE_EVERY = 0.1
DEATHS = 8  # more than any retries here, and fewer than are taken for poison
FOUND_WITHIN = 150.0  # seconds; the last waits between its runs take ten leases each at most


def beside_others(testbed: Testbed) -> None:
    """A burst in which 2 % of the events kill their process, next to healthy handlers."""
    testbed.worker(processes=PROCESSES)
    testbed.publish("work.warm", 40)
    testbed.publish("kind.warm", 40)
    testbed.busy(80)
    for _ in range(BATCHES):
        testbed.publish("kind.good", GOOD)
        testbed.publish("kind.poison", 1, fails=True, data=POISON)
        testbed.injected += 1
    healthy: set[str] = set()
    highest = 0
    deadline = time.monotonic() + 60
    while len(testbed.system.dead()) < BATCHES and time.monotonic() < deadline:
        healthy |= set(testbed.publish("work.healthy", 1))
        highest = max(highest, queued(testbed))
        testbed.supervise()
        time.sleep(PROBE_EVERY)
    waited = testbed.worst_wait(healthy, within=2 * testbed.lease)
    testbed.notes.append(f"healthy handlers waited {waited:.1f} s at most, {highest} tasks queued")
    if waited > testbed.lease:
        raise MissedGoal(f"a healthy handler waited {waited:.1f} s, over a lease")
    if highest > MAX_QUEUED:
        raise MissedGoal(f"{highest} tasks in Celery's queue, more than {MAX_QUEUED}")


def and_innocents(testbed: Testbed) -> None:
    """Chunks with poison in them wait for longer than their lease, and are sent again."""
    worker = testbed.worker(processes=PROCESSES)
    testbed.publish("kind.warm", 200)
    testbed.restored()
    for number in range(testbed.times):
        # The last poison, too, has ended its processes: the pool is to stay as it is.
        testbed.until(partial(has_dead, testbed, number), "the poison to be found", 20)
        pool = worker.children()
        for pid in pool:
            os.kill(pid, signal.SIGSTOP)
        testbed.publish("kind.good", 100)
        testbed.publish("kind.poison", 1, fails=True, data=POISON)
        testbed.publish("kind.good", 100)
        # Nothing runs in this time, and each expired lease makes a copy of a chunk.
        time.sleep(2.5 * testbed.lease)
        for pid in pool:
            os.kill(pid, signal.SIGCONT)
        testbed.injected += 1
        testbed.restored()


def has_dead(testbed: Testbed, count: int) -> bool:
    return len(testbed.system.dead()) >= count


def workers_killed(testbed: Testbed) -> None:
    """The whole worker dies far more often than its handlers may fail: in the middle of chunks, and
    whenever a slow event, which ran in a worker that died, runs again."""
    worker = testbed.worker(processes=PROCESSES)
    testbed.publish("kind.warm", 200)
    testbed.restored()
    testbed.publish("slow.one", PROCESSES)
    for _ in range(DEATHS):
        testbed.publish("kind.good", 30)
        testbed.until(partial(slow_runs_or_is_dead, testbed, worker), "a slow event", FOUND_WITHIN)
        with testbed.fault_window(worker):
            worker.kill_group()
        worker = testbed.worker(processes=PROCESSES)
    testbed.restored()


def slow_runs_or_is_dead(testbed: Testbed, worker: Worker) -> bool:
    """Whether a process of the worker is at a slow event, or one was dead-lettered."""
    if testbed.system.dead():
        return True
    pids = set(worker.children())
    slow = set(handlers_of("slow.one"))
    return any(
        run.ended is None and run.pid in pids and run.delivery[0] in slow
        for run in testbed.store.runs()
    )


def ends_workers(testbed: Testbed) -> None:
    """One event kills its whole worker each time, and others of its handler are under way there."""
    testbed.worker(processes=PROCESSES)
    testbed.publish("kind.warm", 200)
    testbed.restored()
    testbed.publish("kind.good", 100)
    testbed.publish("kind.poison", 1, fails=True, data=FATAL)
    testbed.publish("kind.good", 100)
    testbed.injected += 1

    def is_found() -> bool:
        testbed.supervise()
        if testbed.system.in_flight() < 100:
            testbed.publish("kind.good", 20)
        return bool(testbed.system.dead())

    testbed.until(is_found, "the poison to be found", FOUND_WITHIN, pause=PROBE_EVERY)
    if testbed.restarted > MAX_LOST_RUNS:
        raise MissedGoal(f"{testbed.restarted} workers died, more than {MAX_LOST_RUNS}")


def queued(testbed: Testbed) -> int:
    """How many tasks are in Celery's queue."""
    if testbed.broker_url:
        return RabbitQueue(testbed.broker_url).waiting()
    return int(testbed.redis.llen(SERVICE))


FAULTS = (
    Fault(
        name="poison among others",
        about="2 % of 2,000 events kill their process; others wait a lease at most",
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
