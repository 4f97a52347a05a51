"""Faults of scale and of deployment: backlogs, rolling deploys, very many handlers."""

from __future__ import annotations

import time

from devtools.faults.apps.handlers import wide_type
from devtools.faults.fault import RABBITMQ, REDIS, Fault
from devtools.faults.flow import new_ids
from devtools.faults.testbed import Testbed

WIDE = 1000


def backlog(testbed: Testbed) -> None:
    """Far older than the lease when a worker comes, and longer than the lease to work off."""
    testbed.worker().stop()
    testbed.publish("work.old", 1500)
    testbed.publish("slow.old", 150)
    time.sleep(4 * testbed.lease)
    testbed.worker()
    testbed.injected += 1


def rolling(testbed: Testbed) -> None:
    """Old and new at once, the old one stopped warmly while the new handler's events flow."""
    old = [testbed.worker(processes=1) for _ in range(2)]
    with testbed.stream():
        for worker in old:
            testbed.busy()
            testbed.worker(processes=1, env={"FAULTS_DOMAINS": "work,new"})
            testbed.publish("new.one", 20)
            testbed.busy()
            worker.stop()
            testbed.injected += 1
    testbed.publish("new.one", 20)


def old_joins(testbed: Testbed) -> None:
    """An old worker crashes and starts again while one lives whose handler has more patterns."""
    old = testbed.worker(processes=1)
    testbed.worker(processes=1, env={"FAULTS_VERSION": "2"})
    with testbed.stream("grown.one"):
        for _ in range(testbed.times):
            with testbed.fault_window(old):
                old.kill_group()
            old = testbed.worker(processes=1)
            for _ in range(10):
                testbed.publish("grown.two", 10)
                testbed.publish("more.one", 10)
                testbed.busy(20)
    testbed.restored()


def wide(testbed: Testbed) -> None:
    testbed.worker(env={"FAULTS_WIDE": str(WIDE)})
    began = time.monotonic()
    for n in range(WIDE):
        ids = new_ids(1)
        testbed.system.publish(wide_type(n), ids)
        testbed.accepted(wide_type(n), ids)
    testbed.injected += WIDE
    testbed.notes.append(f"1,000 types published in {time.monotonic() - began:.1f} s")


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
        works="deliveries that older code requeues wait a second or more, and run in one process",
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
