"""Faults of handlers: they raise, hang, exit, crash, or are not there."""

from __future__ import annotations

from devtools.faults.apps.handlers import POISON
from devtools.faults.fault import RABBITMQ, REDIS, Fault, Inject
from devtools.faults.testbed import Testbed

NEIGHBOURS = 60


def poison(domain: str) -> Inject:
    """Some events whose handler fails each time, among others that must not suffer."""

    def publish(testbed: Testbed) -> None:
        testbed.worker()
        for _ in range(testbed.times):
            testbed.publish(f"{domain}.poison", 1, fails=True)
            testbed.publish("work.neighbour", NEIGHBOURS)
            testbed.injected += 1

    return publish


def among_its_own(testbed: Testbed) -> None:
    """Poison for a handler that is busy with good events: they share its chunks, and no retry is
    left to any of them."""
    testbed.worker()
    with testbed.stream("kind.good"):
        testbed.busy(200)
        for _ in range(testbed.times):
            testbed.publish("kind.poison", 1, fails=True, data=POISON)
            testbed.injected += 1
            testbed.busy(60)


def unknown(testbed: Testbed) -> None:
    """A dispatcher of the new code sends delivery tasks to a worker that runs the old."""
    old = testbed.worker(processes=1)
    if testbed.ours:
        dispatcher = testbed.dispatcher(FAULTS_DOMAINS="work,new")
        testbed.publish("new.one", 20)
        testbed.publish("work.one", 20)
        testbed.injected += 20
        unregistered = "unregistered task of type 'billing.newcomer'"
        testbed.until(
            lambda: unregistered in old.output(), "the old worker to get a delivery task", 20
        )
        dispatcher.stop()
    else:
        testbed.publish("new.one", 20)
        testbed.publish("work.one", 20)
        testbed.injected += 20
        testbed.until(lambda: "newcomer" in old.output(), "the old worker to get a task", 20)
    old.stop()
    testbed.worker(env={"FAULTS_DOMAINS": "work,new"})


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
        about="an old version gets the delivery task of a handler that only the new one has",
        inject=unknown,
        on=(REDIS, RABBITMQ),
        once=True,
        domains=("work",),
    ),
)
