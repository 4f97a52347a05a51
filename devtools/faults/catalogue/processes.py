"""Faults of processes: workers, their children, dispatchers, publishers."""

from __future__ import annotations

import random
import signal
import sys
import time

import msgspec

from celeriac.testing.process_guard import guarded_popen
from devtools.faults.fault import RABBITMQ, REDIS, Fault, Inject
from devtools.faults.freezing import freeze_beside_store
from devtools.faults.harm import Harm
from devtools.faults.scene import Scene
from devtools.faults.worker import Worker


def kill_group(scene: Scene) -> None:
    worker = scene.worker()
    with scene.flow():
        for _ in range(scene.times):
            scene.busy()
            with scene.harm(worker):
                worker.kill_group()
            worker = scene.worker()
            scene.whole()


def kill_main(scene: Scene) -> None:
    worker = scene.worker(orphans=True)
    with scene.flow():
        for _ in range(scene.times):
            scene.busy()
            with scene.harm(worker):
                worker.kill_main()
            worker = scene.worker(orphans=True)
            scene.whole()


def kill_child(scene: Scene) -> None:
    worker = scene.worker()
    with scene.flow():
        for _ in range(2 * scene.times):
            scene.busy()
            now = time.monotonic()
            killed = worker.kill_child()
            scene.harms.append(Harm(frozenset(killed), now, time.monotonic()))
            scene.injected += len(killed)
            scene.whole()
        scene.busy()


def stop_one(scene: Scene, worker: Worker, number: int) -> None:
    if number == signal.SIGTERM:
        # Warm: nothing that runs is cut short, so nothing may run again.
        ended = worker.stop(number)
        scene.injected += 1
    else:
        with scene.harm(worker):
            ended = worker.stop(number)
    if not ended:
        scene.notes.append("a stop took over 10 s and was ended by SIGKILL")


def stopped_by(number: int, **env: str) -> Inject:
    def stop(scene: Scene) -> None:
        worker = scene.worker(env=env)
        with scene.flow():
            for _ in range(scene.times):
                scene.busy()
                stop_one(scene, worker, number)
                worker = scene.worker(env=env)
                scene.whole()

    return stop


def freeze(type: str) -> Inject:
    """The frozen one comes back after another has taken its deliveries."""

    def inject(scene: Scene) -> None:
        frozen: Worker = scene.worker()
        scene.worker(processes=1)
        with scene.flow(type):
            for _ in range(scene.times):
                scene.busy()
                pids, began = frozenset(frozen.pids()), freeze_beside_store(scene, frozen)
                # Its deliveries are to heal while it is frozen: another worker is there.
                scene.whole(wait=False)
                time.sleep(scene.lease + 1.5)
                frozen.thaw()
                scene.harms.append(Harm(pids, began, time.monotonic(), frozen=True))
                scene.injected += 1
                scene.heal()

    return inject


def kill_dispatcher(scene: Scene) -> None:
    """Beside a worker, whose own dispatcher takes what the dead one had taken."""
    scene.worker(processes=1)
    dispatcher = scene.dispatcher()
    with scene.flow():
        for _ in range(scene.times):
            scene.busy()
            dispatcher.kill_group()
            scene.injected += 1
            scene.whole()
            dispatcher = scene.dispatcher()
    dispatcher.kill_group()


def refork(scene: Scene) -> None:
    scene.worker("--max-tasks-per-child", "1")
    # Few at a time: each task waits for a fork.
    with scene.flow(depth=20):
        scene.busy(200 if scene.times > 2 else 60)
    scene.injected = scene.store.began_count()


def kill_publisher(many: bool) -> Inject:
    def kill(scene: Scene) -> None:
        scene.worker()
        rounds = 6 * scene.times
        command = [sys.executable, "-m", "devtools.faults.apps.publishing"]
        command += [scene.side.name, scene.url, "many" if many else "one", str(rounds)]
        out = scene.directory / "published.json"
        with out.open("wb") as file:
            process = guarded_popen(
                [*command, str(random.randrange(2**32))], env=scene.environment(), stdout=file
            )
            scene.stack.enter_context(process)
            process.wait(120)
        ids, killed = msgspec.json.decode(out.read_bytes(), type=tuple[list[str], int])
        scene.accepted("fan.out", ids)
        scene.injected += killed

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
            postgresql=True,
            works=works,
        )
        for name, inject, works in (
            ("worker group: SIGKILL", kill_group, ""),
            ("worker main process: SIGKILL", kill_main, ""),
            ("worker child: SIGKILL", kill_child, ""),
            (
                "worker: SIGSTOP past the lease",
                freeze("work.flow"),
                "a frozen transaction keeps its lock on the row of the inbox until it goes on",
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
        about="for the lease and 1.5 s, beside another worker; then SIGCONT",
        # Not the handler with the inbox: in SQLite a frozen transaction locks the whole file.
        inject=freeze("fan.out"),
        domains=("fan",),
        on=(REDIS, RABBITMQ),
    ),
    Fault(
        name="dispatcher: SIGKILL",
        about="`celeriac dispatcher` under flow, beside a worker",
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
