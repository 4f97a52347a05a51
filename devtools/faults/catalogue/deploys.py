"""Faults of scale and of deployment: backlogs, rolling deploys, very many handlers."""

from __future__ import annotations

import time

from devtools.faults.apps.doing import wide_type
from devtools.faults.fault import RABBITMQ, REDIS, Fault
from devtools.faults.flow import new_ids
from devtools.faults.scene import Scene

WIDE = 1000


def backlog(scene: Scene) -> None:
    """Far older than the lease when a worker comes, and longer than the lease to work off."""
    scene.worker().stop()
    scene.publish("work.old", 1500)
    scene.publish("slow.old", 150)
    time.sleep(4 * scene.lease)
    scene.worker()
    scene.injected += 1


def rolling(scene: Scene) -> None:
    """Old and new at once, the old one stopped warmly while the new handler's events flow."""
    old = [scene.worker(processes=1) for _ in range(2)]
    with scene.flow():
        for worker in old:
            scene.busy()
            scene.worker(processes=1, env={"FAULTS_DOMAINS": "work,new"})
            scene.publish("new.one", 20)
            scene.busy()
            worker.stop()
            scene.injected += 1
    scene.publish("new.one", 20)


def old_joins(scene: Scene) -> None:
    """An old worker crashes and starts again while one lives whose handler has more patterns."""
    old = scene.worker(processes=1)
    scene.worker(processes=1, env={"FAULTS_VERSION": "2"})
    with scene.flow("grown.one"):
        for _ in range(scene.times):
            with scene.harm(old):
                old.kill_group()
            old = scene.worker(processes=1)
            for _ in range(10):
                scene.publish("grown.two", 10)
                scene.publish("more.one", 10)
                scene.busy(20)
    scene.whole()


def wide(scene: Scene) -> None:
    scene.worker(env={"FAULTS_WIDE": str(WIDE)})
    began = time.monotonic()
    for n in range(WIDE):
        ids = new_ids(1)
        scene.side.publish(wide_type(n), ids)
        scene.accepted(wide_type(n), ids)
    scene.injected += WIDE
    scene.notes.append(f"1,000 types published in {time.monotonic() - began:.1f} s")


FAULTS = (
    Fault(
        name="backlog older than the lease",
        about="by four leases when a worker comes; more than a lease to work off",
        inject=backlog,
        once=True,
        domains=("work", "slow"),
        lease=1.0,
        works="1,650 deliveries lie before one worker",
    ),
    Fault(
        name="rolling deploy",
        about="two versions at once, the new one with one handler more",
        inject=rolling,
        on=(REDIS, RABBITMQ),
        once=True,
        domains=("work",),
    ),
    Fault(
        name="old worker joins",
        about="killed and started again, while the newer code of its handler has two patterns more",
        inject=old_joins,
        on=(REDIS, RABBITMQ),
        stock=False,
        domains=("grown",),
        works="what older code gives back waits a second or more, and runs in one process",
    ),
    Fault(
        name="1,000 handlers, 1,000 event types",
        about="each handler with a type of its own, in ten domains",
        inject=wide,
        once=True,
        bound=120.0,
        works="1,000 deliveries lie before one worker",
    ),
)
