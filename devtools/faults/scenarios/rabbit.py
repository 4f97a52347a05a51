"""Faults of RabbitMQ as Celery's broker, while the log stays in Redis."""

from __future__ import annotations

import time
from collections.abc import Callable

from devtools.faults.fault import RABBITMQ, Fault, Inject
from devtools.faults.rabbit_queue import RabbitQueue
from devtools.faults.testbed import Testbed
from devtools.rabbitmq import EmbeddedRabbit

# Seconds after which a quorum queue survives a SIGKILL of its only node: RabbitMQ writes down that
# there is one only then. One that was younger has no leader afterwards, for ever.
WRITTEN_DOWN = 2.0
HEARTBEATS = 30.0  # a lease longer than the heartbeats after which both sides give a silent link up


def down(end: Callable[[EmbeddedRabbit], None]) -> Inject:
    def restart(testbed: Testbed) -> None:
        testbed.worker()
        time.sleep(WRITTEN_DOWN)
        with testbed.stream():
            for _ in range(testbed.times):
                testbed.busy()
                end(testbed.rabbit)
                testbed.rabbit.start()
                testbed.injected += 1
                testbed.restored()
            testbed.busy()

    return restart


def lose_leader(testbed: Testbed) -> None:
    testbed.worker()
    with testbed.stream():
        testbed.busy()
        testbed.rabbit.kill()
        testbed.rabbit.start()
        testbed.injected += 1
        # The operator must do this, as the guide states. Until then no event is delivered.
        RabbitQueue(testbed.rabbit.url).delete()
        testbed.restored()
        testbed.busy()


def close_connections(testbed: Testbed) -> None:
    testbed.worker()
    with testbed.stream():
        for _ in range(2 * testbed.times):
            testbed.busy()
            testbed.rabbit.close_connections()
            testbed.injected += 1
            testbed.restored()
        testbed.busy()


def emptied_by(remove: Callable[[RabbitQueue], int]) -> Inject:
    """Once there is something in it. To delete an empty queue again and again would be another
    fault: its consumers would always be about to start again."""

    def empty(testbed: Testbed) -> None:
        testbed.worker()
        queue = RabbitQueue(testbed.rabbit.url)

        def removed() -> bool:
            return queue.waiting() > 0 and remove(queue) > 0

        with testbed.stream():
            for _ in range(testbed.times):
                testbed.busy()
                if testbed.until(removed, "a message", 10, fatal=False, pause=0.0):
                    testbed.injected += 1
                    testbed.restored()

    return empty


def half_open(testbed: Testbed) -> None:
    """Only its connections to the broker; the ones to the log are sound."""
    proxy = testbed.broker_link()
    testbed.worker()
    with testbed.stream():
        testbed.busy()
        proxy.half_open()
        testbed.injected += 1
        time.sleep(1)
        testbed.restored(wait=False)


FAULTS = (
    Fault(
        name="RabbitMQ: restart",
        about="SIGTERM under flow; it is away for as long as it takes to start",
        inject=down(EmbeddedRabbit.stop),
        on=(RABBITMQ,),
        quick=True,
    ),
    Fault(
        name="RabbitMQ: SIGKILL",
        about="under flow, its queue some seconds old; it is away for as long as it takes to start",
        inject=down(EmbeddedRabbit.kill),
        on=(RABBITMQ,),
    ),
    Fault(
        name="RabbitMQ: queue without a leader",
        about="SIGKILL within its first second; it has none for ever, and is deleted manually",
        inject=lose_leader,
        on=(RABBITMQ,),
        once=True,
        stock=False,
    ),
    Fault(
        name="RabbitMQ: all connections closed",
        about="by the node, under flow",
        inject=close_connections,
        on=(RABBITMQ,),
        quick=True,
    ),
    Fault(
        name="RabbitMQ: queue deleted",
        about="while messages are in it",
        inject=emptied_by(RabbitQueue.delete),
        on=(RABBITMQ,),
        quick=True,
    ),
    Fault(
        name="RabbitMQ: queue purged",
        about="while messages are in it",
        inject=emptied_by(RabbitQueue.purge),
        on=(RABBITMQ,),
    ),
    Fault(
        name="RabbitMQ: queue doubled",
        about="each message in it is there twice",
        inject=emptied_by(RabbitQueue.double),
        on=(RABBITMQ,),
    ),
    Fault(
        name="RabbitMQ: link half open, only worker",
        about="its connections to the broker go silent for ever; new ones would work",
        inject=half_open,
        on=(RABBITMQ,),
        once=True,
        lease=HEARTBEATS,
        bound=120.0,
    ),
)
