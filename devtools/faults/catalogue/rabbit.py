"""Faults of RabbitMQ as Celery's broker, while the log stays in Redis."""

from __future__ import annotations

import time
from collections.abc import Callable

from devtools.faults.fault import RABBITMQ, Fault, Inject
from devtools.faults.rabbit_queue import RabbitQueue
from devtools.faults.scene import Scene
from devtools.rabbitmq import EmbeddedRabbit

# Seconds after which a quorum queue survives a SIGKILL of its only node: RabbitMQ writes down that
# there is one only then. One that was younger has no leader afterwards, for ever.
WRITTEN_DOWN = 2.0
HEARTBEATS = 30.0  # a lease longer than the heartbeats after which both sides give a silent link up


def down(end: Callable[[EmbeddedRabbit], None]) -> Inject:
    def restart(scene: Scene) -> None:
        scene.worker()
        time.sleep(WRITTEN_DOWN)
        with scene.flow():
            for _ in range(scene.times):
                scene.busy()
                end(scene.rabbit)
                scene.rabbit.start()
                scene.injected += 1
                scene.whole()
            scene.busy()

    return restart


def lose_leader(scene: Scene) -> None:
    scene.worker()
    with scene.flow():
        scene.busy()
        scene.rabbit.kill()
        scene.rabbit.start()
        scene.injected += 1
        # What the guide tells the operator to do. Until then nothing gets through.
        RabbitQueue(scene.rabbit.url).delete()
        scene.whole()
        scene.busy()


def close_connections(scene: Scene) -> None:
    scene.worker()
    with scene.flow():
        for _ in range(2 * scene.times):
            scene.busy()
            scene.rabbit.close_connections()
            scene.injected += 1
            scene.whole()
        scene.busy()


def emptied_by(take: Callable[[RabbitQueue], int]) -> Inject:
    """Until there was something in it."""

    def empty(scene: Scene) -> None:
        scene.worker()
        queue = RabbitQueue(scene.rabbit.url)
        with scene.flow():
            for _ in range(scene.times):
                scene.busy()
                if scene.until(lambda: take(queue) > 0, "a message", 10, fatal=False):
                    scene.injected += 1
                    scene.whole()

    return empty


def half_open(scene: Scene) -> None:
    """Only its connections to the broker; the ones to the log are sound."""
    proxy = scene.broker_link()
    scene.worker()
    with scene.flow():
        scene.busy()
        proxy.half_open()
        scene.injected += 1
        time.sleep(1)
        scene.whole(wait=False)


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
        about="SIGKILL within its first second; it has none for ever, and is deleted by hand",
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
