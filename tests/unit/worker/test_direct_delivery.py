"""Direct delivery of a task to the worker's own pool, on a consumer with Celery's own loop."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery, signals
from celery.worker import state
from kombu.asynchronous import Hub

from celeriac import Event, EventBus
from celeriac.worker import request
from celeriac.worker.direct_delivery import AHEAD, SERVED, DirectDelivery, local_message, wakes_loop

needs_direct_delivery = pytest.mark.skipif(
    not wakes_loop(), reason="direct delivery needs kombu 5.7 or later"
)

OPTIONS: dict[str, Any] = {
    "kwargs": {"domain": "order", "events": "1-0 a"},
    "kwargsrepr": "{'id': 'a'}",
    "argsrepr": "()",
    "parent_id": "a",
    "root_id": "chain",
}


class Request:
    """Something that is under way."""


class Worker:
    """What direct delivery has of a worker: `received` are the messages its consumer was given."""

    def __init__(self, processes: int = 2) -> None:
        self.app = Celery("billing", broker="memory://", set_as_current=False)
        bus = EventBus(self.app, service="billing", redis_url="redis://127.0.0.1:1/0")

        @bus.on("order.placed", time_limit=9)
        def charge(event: Event) -> None: ...

        self.task = self.app.tasks["billing.charge"]
        self.received: list[Any] = []
        self.queues = {"billing"}
        self.hub: Any = Hub()  # type: ignore[no-untyped-call]
        self.consumer = SimpleNamespace(
            hub=self.hub,
            pool=SimpleNamespace(num_processes=processes),
            task_consumer=SimpleNamespace(consuming_from=self.queues.__contains__),
            create_task_handler=lambda: self.received.append,
        )
        self.way = DirectDelivery()

    def offer(self, queue: str = "billing", *, busy: bool = False, **options: Any) -> bool:
        return self.way.offer(self.app, self.task, queue, {**OPTIONS, **options}, busy=busy)

    def loop_once(self) -> None:
        self.hub.timer.call_after(0.01, lambda: None)
        next(self.hub.create_loop())


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker()
    yield worker
    worker.hub.close()


@needs_direct_delivery
def test_it_is_closed_until_the_consumer_runs_and_after_it_stopped(worker: Worker) -> None:
    assert not worker.offer()
    worker.way.open(worker.consumer)
    assert worker.offer()
    worker.way.close()
    assert not worker.offer()


@needs_direct_delivery
def test_what_is_to_stay_is_taken_by_a_busy_worker_that_serves_its_queue(worker: Worker) -> None:
    worker.way.open(worker.consumer)
    for _ in range(2):
        assert worker.offer()
    assert not worker.offer()
    assert worker.offer(busy=True)
    assert not worker.offer("other", busy=True)


@needs_direct_delivery
def test_so_many_tasks_wait_for_each_process_while_tasks_begin(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("celeriac.worker.direct_delivery.time.monotonic", lambda: now[0])
    assert worker.way.capacity(worker.app, "billing") is None
    worker.way.open(worker.consumer)
    assert worker.way.capacity(worker.app, "other") is None
    assert 2 * AHEAD == worker.way.capacity(worker.app, "billing")
    for _ in range(3):
        assert worker.offer(busy=True)
    assert 2 * AHEAD - 3 == worker.way.capacity(worker.app, "billing")
    worker.loop_once()
    worker.received.pop().ack()
    now[0] += SERVED
    assert 2 * AHEAD - 2 == worker.way.capacity(worker.app, "billing")


@needs_direct_delivery
def test_nothing_waits_for_processes_that_other_tasks_hold(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("celeriac.worker.direct_delivery.time.monotonic", lambda: now[0])
    held = [Request(), Request()]
    monkeypatch.setattr(state, "reserved_requests", held)
    worker.way.open(worker.consumer)
    assert worker.way.capacity(worker.app, "billing") is None
    del held[:]
    assert 2 * AHEAD == worker.way.capacity(worker.app, "billing")
    held += [Request(), Request()]
    now[0] += 2 * SERVED
    assert worker.way.capacity(worker.app, "billing") is None


def test_a_worker_without_an_event_loop_gets_its_tasks_from_the_broker(worker: Worker) -> None:
    worker.consumer.hub = None
    worker.way.open(worker.consumer)
    assert not worker.offer()


def test_the_guard_of_messages_takes_it_as_it_takes_one_of_the_broker(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[Any] = []
    monkeypatch.setattr(request, "default", lambda *_, **__: lambda *given: taken.append(given))
    receive = request.guarded_strategy(worker.task, worker.app, None)
    message = local_message(worker.app, worker.task, "billing", OPTIONS)
    receive(message, None)
    assert [(message, None)] == taken
    assert message.payload[1] == OPTIONS["kwargs"]


@needs_direct_delivery
def test_what_is_handed_over_is_received_by_the_loop_in_order(worker: Worker) -> None:
    worker.way.open(worker.consumer)
    assert worker.offer(parent_id="first")
    assert worker.offer(parent_id="second")
    assert [] == worker.received
    worker.loop_once()
    assert ["first", "second"] == [m.headers["parent_id"] for m in worker.received]


def test_kombu_that_cannot_wake_the_loop_is_reported_once_and_the_broker_delivers(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("celeriac.worker.direct_delivery.WAKING_KOMBU", (99, 0))
    caplog.set_level(logging.INFO, logger="celeriac.worker.direct_delivery")
    for _ in range(2):
        worker.way.open(worker.consumer)
        assert not worker.offer()
    assert 1 == caplog.text.count("Install kombu 5.7 or later for direct delivery.")


@needs_direct_delivery
def test_busy_processes_get_tasks_through_the_queue_that_others_share(worker: Worker) -> None:
    worker.way.open(worker.consumer)
    running = Request()
    state.reserved_requests.add(running)
    try:
        assert worker.offer()
        assert not worker.offer()  # one runs, one is on its way
    finally:
        state.reserved_requests.discard(running)


def test_a_queue_that_the_worker_does_not_consume_any_more_is_not_passed_by(
    worker: Worker,
) -> None:
    worker.way.open(worker.consumer)
    worker.queues.clear()
    assert not worker.offer()


def test_listeners_of_publishing_receive_every_task(worker: Worker) -> None:
    worker.way.open(worker.consumer)

    def listen(**_: Any) -> None: ...

    signals.before_task_publish.connect(listen)
    try:
        assert not worker.offer()
    finally:
        signals.before_task_publish.disconnect(listen)
    worker.app.conf.task_send_sent_event = True
    assert not worker.offer()


@needs_direct_delivery
def test_what_a_lost_connection_left_behind_runs_when_there_is_a_new_one(worker: Worker) -> None:
    worker.way.open(worker.consumer)
    worker.offer()
    worker.way.close()
    worker.way.open(worker.consumer)
    worker.loop_once()
    assert 1 == len(worker.received)


def test_the_message_is_the_one_that_the_broker_would_deliver(
    worker: Worker,
) -> None:
    task: Any = worker.task
    # Queues in memory are those of the process: other tests may have left messages in `billing`.
    with worker.app.connection_for_write() as connection:
        task.apply_async(**OPTIONS, queue="delivered", connection=connection)
        queue = connection.SimpleQueue("delivered")
        delivered = queue.get(timeout=1)
    ours = local_message(worker.app, worker.task, "billing", OPTIONS)
    ignored = {"id", "origin", "root_id", "stamped_headers", "stamps"}
    assert {k: v for k, v in delivered.headers.items() if k not in ignored} == {
        k: v for k, v in ours.headers.items() if k not in ignored
    }
    assert (delivered.content_type, delivered.payload) == (
        ours.content_type,
        [list(ours.payload[0]), OPTIONS["kwargs"], ours.payload[2]],
    )
    # 0: no limit, also not the app's.
    assert [9, 0] == ours.headers["timelimit"]


def test_it_needs_no_acknowledgement(worker: Worker) -> None:
    message = local_message(worker.app, worker.task, "billing", OPTIONS)
    message.ack()
    message.reject()
    assert message.channel is None


@needs_direct_delivery
def test_what_no_process_started_runs_after_a_lost_connection(worker: Worker) -> None:
    """Celery's pool drops what it has not written to a process when the consumer restarts."""
    worker.way.open(worker.consumer)
    for _ in range(2):
        assert worker.offer()
    worker.loop_once()
    started, waiting = worker.received
    started.ack()
    worker.way.close()
    worker.received.clear()
    worker.way.open(worker.consumer)
    worker.loop_once()
    assert worker.received == [waiting]
    waiting.reject()
    worker.way.open(worker.consumer)
    worker.loop_once()
    assert worker.received == [waiting]
