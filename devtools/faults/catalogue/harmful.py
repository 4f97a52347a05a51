"""Faults of handlers: they raise, hang, exit, crash, or are not there."""

from __future__ import annotations

from devtools.faults.apps.doing import POISON
from devtools.faults.fault import RABBITMQ, REDIS, Fault, Inject
from devtools.faults.scene import Scene

NEIGHBOURS = 60


def poison(domain: str) -> Inject:
    """Some events whose handler fails each time, among others that must not suffer."""

    def publish(scene: Scene) -> None:
        scene.worker()
        for _ in range(scene.times):
            scene.publish(f"{domain}.poison", 1, fails=True)
            scene.publish("work.neighbour", NEIGHBOURS)
            scene.injected += 1

    return publish


def among_its_own(scene: Scene) -> None:
    """Poison for a handler that is busy with good events: they share its chunks, and no retry is
    left to any of them."""
    scene.worker()
    with scene.flow("kind.good"):
        scene.busy(200)
        for _ in range(scene.times):
            scene.publish("kind.poison", 1, fails=True, data=POISON)
            scene.injected += 1
            scene.busy(60)


def unknown(scene: Scene) -> None:
    """A dispatcher of the new code sends its hints to a worker that runs the old."""
    old = scene.worker(processes=1)
    if scene.ours:
        dispatcher = scene.dispatcher(FAULTS_DOMAINS="work,new")
        scene.publish("new.one", 20)
        scene.publish("work.one", 20)
        scene.injected += 20
        hinted = "unregistered task of type 'billing.newcomer'"
        scene.until(lambda: hinted in old.said(), "the old worker to get a hint", 20)
        dispatcher.stop()
    else:
        scene.publish("new.one", 20)
        scene.publish("work.one", 20)
        scene.injected += 20
        scene.until(lambda: "newcomer" in old.said(), "the old worker to get a task", 20)
    old.stop()
    scene.worker(env={"FAULTS_DOMAINS": "work,new"})


FAULTS = (
    Fault(
        name="handler raises",
        about="each time; retried once, then dead",
        inject=poison("raise"),
        on=(REDIS, RABBITMQ),
        domains=("work", "raise"),
    ),
    Fault(
        name="handler hangs",
        about="past its time limit of 1 s, each time",
        inject=poison("hang"),
        domains=("work", "hang"),
        works="each hangs for a second twice, and one process of two is kept for others",
    ),
    Fault(
        name="handler exits",
        about="sys.exit(3), each time",
        inject=poison("exit"),
        domains=("work", "exit"),
        bound=20.0,
    ),
    Fault(
        name="handler segfaults",
        about="and its process with it, each time",
        inject=poison("segfault"),
        on=(REDIS, RABBITMQ),
        domains=("work", "segfault"),
        bound=20.0,
    ),
    Fault(
        name="poison among its own kind",
        about="segfaults in the middle of a chunk; the handler has no retries",
        inject=among_its_own,
        on=(REDIS, RABBITMQ),
        # There it crashes process after process for ever, on the cores of both.
        stock=False,
        quick=True,
        domains=("kind",),
        bound=30.0,
    ),
    Fault(
        name="handler exhausts memory",
        about="up to an RLIMIT_AS, each time",
        inject=poison("memory"),
        domains=("work", "memory"),
    ),
    Fault(
        name="handler unknown to the worker",
        about="an old version gets the hint of a handler that only the new one has",
        inject=unknown,
        on=(REDIS, RABBITMQ),
        once=True,
        domains=("work",),
    ),
)
