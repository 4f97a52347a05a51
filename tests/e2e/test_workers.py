"""How workers are run: re-forked pools, several of them, with the tasks of an existing app."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
from celery import Celery


def test_pool_processes_forked_after_every_task_do_not_deadlock(deployment: Any) -> None:
    """The dispatcher's thread runs during constant forks."""
    deployment.worker(options=("--max-tasks-per-child", "1"))
    deployment.joined("billing.slow", "slow")
    events = [deployment.bus.event("slow.one", {"seconds": 0}) for _ in range(150)]
    deployment.bus.emit_many(events)
    deployment.until_settled()
    assert deployment.runs("billing.slow") == dict.fromkeys((e.id for e in events), 1)


@pytest.mark.brokers
def test_workers_of_a_service_share_its_events(deployment: Any) -> None:
    """Competing consumers: each event runs once, and both workers take part."""
    deployment.worker(processes=1)
    deployment.worker(processes=1)
    deployment.joined("billing.slow", "slow")
    events = [deployment.bus.event("slow.one", {"seconds": 0.02}) for _ in range(100)]
    deployment.bus.emit_many(events)
    deployment.until_settled()
    assert deployment.runs("billing.slow") == dict.fromkeys((e.id for e in events), 1)
    for worker in deployment.workers:
        worker.stop()
        assert "billing.slow" in worker.said()


@pytest.mark.brokers
def test_the_main_process_killed_alone_loses_nothing(deployment: Any) -> None:
    worker = deployment.worker()
    deployment.joined("billing.work", "work")
    events = [deployment.bus.event("work.one") for _ in range(1000)]
    deployment.bus.emit_many(events)
    deployment.until(lambda: len(deployment.runs("billing.work")) > 100, what="full flow")
    os.kill(worker.process.pid, signal.SIGKILL)
    deployment.worker()
    deployment.until_settled()
    assert set(deployment.runs("billing.work")) == {e.id for e in events}
    assert deployment.missing() == 0


def test_a_bus_on_an_existing_app_works_with_its_tasks(deployment: Any) -> None:
    deployment.worker(app="existing")
    deployment.joined("billing.note", "order")
    client = Celery(broker=deployment.server.url)
    client.send_task("legacy.add", args=(2, 3), queue="legacy")
    event_id = deployment.bus.emit("order.placed", {"n": 1})
    deployment.until_settled()
    assert deployment.runs("billing.note") == {event_id: 1}
    deployment.until(lambda: deployment.effects.lrange("added", 0, -1) == ["5"], what="the task")


def test_two_buses_of_one_service_are_served_by_one_dispatcher(deployment: Any) -> None:
    worker = deployment.worker(app="two_modules")
    deployment.joined("billing.charge", "order")
    deployment.joined("billing.mail", "order")
    ids = [deployment.bus.emit("order.placed") for _ in range(10)]
    deployment.until_settled()
    assert deployment.runs("billing.charge") == dict.fromkeys(ids, 1)
    assert deployment.runs("billing.mail") == dict.fromkeys(ids, 1)
    assert len(deployment.bus.service.backend.registry.workers()) == 1
    assert worker.stop() == 0


def test_a_task_for_a_handler_of_newer_code_waits_for_a_worker_that_has_it(
    deployment: Any,
) -> None:
    """An old worker gets the delivery task, and puts the event off; no lease has to run out."""
    deployment.lease = 60.0
    deployment.worker(app="existing")
    deployment.joined("billing.note", "order")
    deployment.worker(processes=1)
    deployment.joined("billing.work", "work")
    ids = [deployment.bus.emit("work.one") for _ in range(20)]
    deployment.until_settled(seconds=30)
    assert deployment.runs("billing.work") == dict.fromkeys(ids, 1)


def test_a_handler_removed_while_the_system_runs_is_served_no_more(deployment: Any) -> None:
    """Its group is gone and does not come back until its worker is started again."""
    deployment.worker()
    deployment.joined("billing.note", "order")
    backend = deployment.bus.service.backend
    backend.registry.unregister("billing.note")
    backend.event_log.leave("order", "billing.note")
    before = deployment.bus.emit("order.placed", {"n": 10})
    deployment.until(lambda: deployment.runs("billing.anote") == {before: 1}, what="its neighbour")
    assert not deployment.runs("billing.note")
    assert "billing.note" not in {group.handler for group in backend.event_log.groups("order")}


def test_an_old_worker_leaves_what_only_newer_code_wants_to_a_new_one(deployment: Any) -> None:
    """Both versions read the same group during a rolling deployment."""
    old = deployment.worker(app="existing")
    deployment.joined("billing.note", "order")
    deployment.worker(app="amended")
    deployment.until(
        lambda: (
            deployment.bus.service.backend.registry.handlers()["billing.note"].patterns
            == ("order.placed", "order.amended")
        ),
        what="the newer patterns",
    )
    ids = [deployment.bus.emit("order.amended") for _ in range(20)]
    deployment.until(lambda: len(deployment.runs("billing.note")) == 20, what="all of them")
    assert deployment.runs("billing.note") == dict.fromkeys(ids, 1)
    assert deployment.effects.get("amended") == "20"
    assert old.process.poll() is None
