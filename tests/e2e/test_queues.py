"""A worker's handlers follow the queues that remote control adds to it and takes from it."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from celery import Celery


def consume(deployment: Any, number: int, *, queue: str, on: bool) -> None:
    """Add or cancel the worker's consumer of the queue, and wait until its next heartbeat."""
    control: Any = Celery(broker=deployment.server.url).control
    change = control.add_consumer if on else control.cancel_consumer
    name = deployment.workers[number].process.pid
    hostname = next(w.name for w in workers(deployment) if w.pid == name).partition("/")[0]
    # Repeated: a worker whose control queue is not bound yet gets no broadcast.
    deployment.until(
        lambda: change(queue, destination=[hostname], reply=True), what="the worker's reply"
    )
    deployment.until(
        lambda: any(w.pid == name and (queue in w.queues) is on for w in workers(deployment)),
        what="the beat",
    )


def workers(deployment: Any) -> list[Any]:
    found: list[Any] = deployment.bus.service.backend.registry.workers()
    return found


def doctor(deployment: Any) -> str:
    return subprocess.run(
        [sys.executable, "-c", "from celeriac.cli import main; main()", "doctor"],
        env=deployment.environment, capture_output=True, text=True, check=False,
    ).stdout  # fmt: skip


def test_a_cancelled_queue_is_reported_and_an_added_one_is_served(deployment: Any) -> None:
    worker = deployment.worker(app="existing")
    deployment.joined("billing.note", "order")
    consume(deployment, 0, queue="billing", on=False)
    event = deployment.bus.emit("order.placed")
    deployment.until(lambda: "no living worker runs billing.note" in worker.said(), what="WARNING")
    assert "billing.note does not run: no running worker" in doctor(deployment)
    assert not deployment.runs("billing.note")
    consume(deployment, 0, queue="billing", on=True)
    deployment.until_settled()
    assert deployment.runs("billing.note") == {event: 1}
    assert "billing.note does not run" not in doctor(deployment)


def test_a_cancelled_queue_is_left_to_the_worker_that_consumes_it(deployment: Any) -> None:
    """No lease has to run out for what the first worker had."""
    deployment.lease = 60.0
    first = deployment.worker(app="existing")
    deployment.worker(app="existing")
    deployment.joined("billing.note", "order")
    before = [deployment.bus.emit("order.placed") for _ in range(50)]
    consume(deployment, 0, queue="billing", on=False)
    after = [deployment.bus.emit("order.placed") for _ in range(50)]
    deployment.until_settled(seconds=30)
    assert deployment.runs("billing.note") == dict.fromkeys(before + after, 1)
    assert "no living worker" not in first.said()
