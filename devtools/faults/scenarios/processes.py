"""Faults of processes: workers, their children, dispatchers, publishers."""

from __future__ import annotations

import random
import signal
import sys
import time

import msgspec

from celeriac.testing.process_guard import guarded_popen
from devtools.faults.fault import RABBITMQ, REDIS, Fault, Inject
from devtools.faults.fault_window import FaultWindow
from devtools.faults.freezing import freeze_beside_store
from devtools.faults.inboxed import POSTGRESQL
from devtools.faults.testbed import Testbed
from devtools.faults.worker import Worker


def kill_group(testbed: Testbed) -> None:
    worker = testbed.worker()
    with testbed.stream():
        for _ in range(testbed.times):
            testbed.busy()
            with testbed.fault_window(worker):
                worker.kill_group()
            worker = testbed.worker()
            testbed.restored()


def kill_main(testbed: Testbed) -> None:
    worker = testbed.worker(orphans=True)
    with testbed.stream():
        for _ in range(testbed.times):
            testbed.busy()
            with testbed.fault_window(worker):
                worker.kill_main()
            worker = testbed.worker(orphans=True)
            testbed.restored()


def kill_child(testbed: Testbed) -> None:
    worker = testbed.worker()
    with testbed.stream():
        for _ in range(2 * testbed.times):
            testbed.busy()
            testbed.injected += testbed.kill_child(worker)
            testbed.restored()
        testbed.busy()


def stop_one(testbed: Testbed, worker: Worker, number: int) -> None:
    if number == signal.SIGTERM:
        # Warm: nothing that runs is cut short, so nothing may run again.
        ended = worker.stop(number)
        testbed.injected += 1
    else:
        with testbed.fault_window(worker):
            ended = worker.stop(number)
    if not ended:
        testbed.notes.append("a stop took over 10 s and was ended by SIGKILL")


def stopped_by(number: int, **env: str) -> Inject:
    def stop(testbed: Testbed) -> None:
        worker = testbed.worker(env=env)
        with testbed.stream():
            for _ in range(testbed.times):
                testbed.busy()
                stop_one(testbed, worker, number)
                worker = testbed.worker(env=env)
                testbed.restored()

    return stop


def freeze(type: str) -> Inject:
    """The frozen one comes back after another has taken its deliveries."""

    def inject(testbed: Testbed) -> None:
        frozen: Worker = testbed.worker()
        testbed.worker(processes=1)
        with testbed.stream(type):
            for _ in range(testbed.times):
                testbed.busy()
                pids, began = frozenset(frozen.pids()), freeze_beside_store(testbed, frozen)
                # Another worker must recover its deliveries while it is frozen.
                testbed.restored(wait=False)
                time.sleep(testbed.lease + 1.5)
                frozen.thaw()
                testbed.windows.append(FaultWindow(pids, began, time.monotonic(), frozen=True))
                testbed.injected += 1
                testbed.wait_for_recovery()

    return inject


def kill_dispatcher(testbed: Testbed) -> None:
    """With a worker, whose own dispatcher fetches the deliveries of the dead one."""
    testbed.worker(processes=1)
    dispatcher = testbed.dispatcher()
    with testbed.stream():
        for _ in range(testbed.times):
            testbed.busy()
            dispatcher.kill_group()
            testbed.injected += 1
            testbed.restored()
            dispatcher = testbed.dispatcher()
    dispatcher.kill_group()


def refork(testbed: Testbed) -> None:
    testbed.worker("--max-tasks-per-child", "1")
    # Few at a time: each task waits for a fork.
    with testbed.stream(depth=20):
        testbed.busy(200 if testbed.times > 2 else 60)
    testbed.injected = testbed.store.began_count()


def kill_publisher(many: bool) -> Inject:
    def kill(testbed: Testbed) -> None:
        testbed.worker()
        rounds = 6 * testbed.times
        command = [sys.executable, "-m", "devtools.faults.apps.publishing"]
        command += [testbed.system.name, testbed.url, "many" if many else "one", str(rounds)]
        out = testbed.directory / "published.json"
        with out.open("wb") as file:
            process = guarded_popen(
                [*command, str(random.randrange(2**32))], env=testbed.environment(), stdout=file
            )
            testbed.stack.enter_context(process)
            process.wait(120)
        ids, killed = msgspec.json.decode(out.read_bytes(), type=tuple[list[str], int])
        testbed.accepted("fan.out", ids)
        testbed.injected += killed

    return kill


FAULTS = (
    Fault(
        name="worker group: SIGKILL",
        about="main and pool processes at once, under flow; a new worker takes over",
        inject=kill_group,
        on=(REDIS, RABBITMQ),
        quick=True,
    ),
    Fault(
        name="worker main process: SIGKILL",
        about="its pool processes live on as long as they do by themselves",
        inject=kill_main,
        on=(REDIS, RABBITMQ),
    ),
    Fault(
        name="worker child: SIGKILL",
        about="a pool process under flow; the main process replaces it",
        inject=kill_child,
        on=(REDIS, RABBITMQ),
        quick=True,
    ),
    *(
        Fault(
            name=f"{name}, inbox in PostgreSQL",
            about="the handler's effects have no key of their own",
            inject=inject,
            stock=False,
            database=POSTGRESQL,
            works=works,
        )
        for name, inject, works in (
            ("worker group: SIGKILL", kill_group, ""),
            ("worker main process: SIGKILL", kill_main, ""),
            ("worker child: SIGKILL", kill_child, ""),
            (
                "worker: SIGSTOP past the lease",
                freeze("work.flow"),
                "a frozen transaction keeps its lock on the row of the inbox until it continues",
            ),
        )
    ),
    Fault(
        name="worker: warm stop",
        about="SIGTERM under flow",
        inject=stopped_by(signal.SIGTERM),
        on=(REDIS, RABBITMQ),
        quick=True,
    ),
    Fault(
        name="worker: soft stop",
        about="SIGQUIT under flow with a soft shutdown timeout of 2 s",
        inject=stopped_by(signal.SIGQUIT, FAULTS_SOFT="2"),
        on=(REDIS, RABBITMQ),
    ),
    Fault(
        name="worker: cold stop",
        about="SIGQUIT under flow",
        inject=stopped_by(signal.SIGQUIT),
        on=(REDIS, RABBITMQ),
    ),
    Fault(
        name="worker: SIGSTOP past the lease",
        about="for the lease and 1.5 s, with another worker running; then SIGCONT",
        # Not the handler with the inbox: in SQLite a frozen transaction locks the whole file.
        inject=freeze("fan.out"),
        domains=("fan",),
        on=(REDIS, RABBITMQ),
    ),
    Fault(
        name="dispatcher: SIGKILL",
        about="`celeriac dispatcher` under load, with a worker running",
        inject=kill_dispatcher,
        stock=False,
    ),
    Fault(
        name="children re-forked after every task",
        about="--max-tasks-per-child 1",
        inject=refork,
        on=(REDIS, RABBITMQ),
        quick=True,
        lease=10.0,
    ),
    Fault(
        name="publisher: SIGKILL within emit",
        about="and tried again with the same ids",
        inject=kill_publisher(many=False),
        quick=True,
        domains=("fan",),
    ),
    Fault(
        name="publisher: SIGKILL within emit_many",
        about="and tried again with the same ids",
        inject=kill_publisher(many=True),
        domains=("fan",),
    ),
)
