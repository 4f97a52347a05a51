"""Faults of processes: workers, their children, dispatchers, publishers."""

from __future__ import annotations

import random
import signal
import sys
import time

import msgspec

from celeriac.dev.faults.fault import Fault, Inject
from celeriac.dev.faults.scene import Scene
from celeriac.dev.faults.worker import Worker
from celeriac.dev.guard import guarded_popen


def kill_group(scene: Scene) -> None:
    worker = scene.worker()
    with scene.flow():
        for _ in range(scene.times):
            scene.busy()
            worker.kill_group()
            scene.injected += 1
            worker = scene.worker()


def kill_main(scene: Scene) -> None:
    worker = scene.worker(orphans=True)
    with scene.flow():
        for _ in range(scene.times):
            scene.busy()
            worker.kill_main()
            scene.injected += 1
            worker = scene.worker(orphans=True)


def kill_child(scene: Scene) -> None:
    worker = scene.worker()
    with scene.flow():
        for _ in range(3 * scene.times):
            scene.busy()
            worker.kill_child()
            scene.injected += 1
        scene.busy()


def stopped_by(number: int, **env: str) -> Inject:
    def stop(scene: Scene) -> None:
        worker = scene.worker(env=env)
        with scene.flow():
            for _ in range(scene.times):
                scene.busy()
                if not worker.stop(number):
                    scene.notes.append("a stop took over 10 s and was ended by SIGKILL")
                scene.injected += 1
                worker = scene.worker(env=env)

    return stop


def freeze(scene: Scene) -> None:
    """The frozen one comes back after another has taken its deliveries."""
    frozen: Worker = scene.worker()
    scene.worker(processes=1)
    with scene.flow():
        for _ in range(scene.times):
            scene.busy()
            frozen.freeze()
            scene.injected += 1
            time.sleep(scene.lease + 1.5)
            frozen.thaw()


def kill_dispatcher(scene: Scene) -> None:
    """Beside a worker, whose own dispatcher takes what the dead one had taken."""
    scene.worker(processes=1)
    dispatcher = scene.dispatcher()
    with scene.flow():
        for _ in range(scene.times):
            scene.busy()
            dispatcher.kill_group()
            scene.injected += 1
            dispatcher = scene.dispatcher()
    dispatcher.kill_group()


def refork(scene: Scene) -> None:
    scene.worker("--max-tasks-per-child", "1")
    with scene.flow():
        scene.busy(200 if scene.times > 2 else 60)
    scene.injected = scene.store.began_count()


def kill_publisher(many: bool) -> Inject:
    def kill(scene: Scene) -> None:
        scene.worker()
        rounds = 6 * scene.times
        command = [sys.executable, "-m", "celeriac.dev.faults.apps.publishing"]
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
        quick=True,
        doubled=True,
    ),
    Fault(
        name="worker main process: SIGKILL",
        about="its pool processes live on as long as they do by themselves",
        inject=kill_main,
        doubled=True,
    ),
    Fault(
        name="worker child: SIGKILL",
        about="a pool process under flow; the main process replaces it",
        inject=kill_child,
        quick=True,
        doubled=True,
    ),
    Fault(
        name="worker: warm stop",
        about="SIGTERM under flow",
        inject=stopped_by(signal.SIGTERM),
        quick=True,
    ),
    Fault(
        name="worker: soft stop",
        about="SIGQUIT under flow with a soft shutdown timeout of 2 s",
        inject=stopped_by(signal.SIGQUIT, FAULTS_SOFT="2"),
        doubled=True,
    ),
    Fault(
        name="worker: cold stop",
        about="SIGQUIT under flow",
        inject=stopped_by(signal.SIGQUIT),
        doubled=True,
    ),
    Fault(
        name="worker: SIGSTOP past the lease",
        about="for the lease and 1.5 s, beside another worker; then SIGCONT",
        inject=freeze,
        doubled=True,
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
