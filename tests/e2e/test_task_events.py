"""Celery's task events: sent while a monitor receives them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import pytest
from celery import Celery

from celeriac import EventBus
from tests.e2e.conftest import Deployment, Worker

SENT, NOT_SENT = "task events are sent to monitors", "no monitor receives task events"


def celery_app(deployment: Deployment) -> Celery:
    app: Celery = EventBus(
        service="billing",
        redis_url=deployment.server.url,
        broker_url=deployment.broker_url or deployment.server.url,
    ).app
    return app


def said(worker: Worker, text: str, times: int) -> bool:
    return worker.said().count(text) == times


class Monitor:
    """An event receiver, as Flower and `celery events` have one."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.seen: list[str] = []

    def see(self, event: dict[str, Any]) -> None:
        self.seen.append(event["type"])

    def receive(self, seconds: float) -> list[str]:
        """The types of the events that come within the time."""
        self.seen.clear()
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            with suppress(TimeoutError):
                self.connection.drain_events(timeout=left)
        return list(self.seen)

    def sees_tasks(self, deployment: Deployment, *, within: float) -> bool:
        """Whether it sees one of the tasks of the events that are emitted from now on."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            deployment.bus.emit("order.placed", {"n": 1})
            if "task-succeeded" in self.receive(0.2):
                return True
        return False


@contextmanager
def monitor(app: Celery) -> Iterator[Monitor]:
    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection)
        with receiver.consumer_context(wakeup=False) as (consuming, *_):
            one = Monitor(consuming)
            receiver.handlers["*"] = one.see
            one.receive(0.2)  # on Redis the first one subscribes
            yield one


@pytest.mark.brokers
def test_a_monitor_that_comes_sees_tasks_and_one_that_leaves_ends_it(
    deployment: Deployment,
) -> None:
    worker, app = deployment.worker(processes=1), celery_app(deployment)
    deployment.joined("billing.note", "order")
    for count in (1, 2):
        with monitor(app) as one:
            assert one.sees_tasks(deployment, within=60), worker.said()
        ended = partial(said, worker, NOT_SENT, count)
        deployment.until(ended, what="the end of the task events")
        assert said(worker, SENT, count)


def test_remote_control_turns_them_off_and_on(deployment: Deployment) -> None:
    worker, app = deployment.worker(processes=1), celery_app(deployment)
    deployment.joined("billing.note", "order")
    with monitor(app) as one:
        assert one.sees_tasks(deployment, within=60), worker.said()
        # Repeated: a busy worker may take longer than a second to reply.
        deployment.until(
            lambda: bool(app.control.broadcast("disable_events", reply=True)), what="its reply"
        )
        one.receive(0.5)
        assert not one.sees_tasks(deployment, within=2)
        app.control.enable_events()
        assert one.sees_tasks(deployment, within=60), worker.said()


@pytest.mark.brokers
def test_with_task_events_turned_on_they_are_always_sent(deployment: Deployment) -> None:
    """Also to programs that read them in another way than by an event receiver."""
    worker = deployment.worker(processes=1, options=("-E",))
    deployment.joined("billing.note", "order")
    with monitor(celery_app(deployment)) as one:
        assert one.sees_tasks(deployment, within=60)
    assert SENT not in worker.said()
