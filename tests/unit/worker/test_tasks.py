"""Handlers as tasks of a Celery app that was there before."""

from __future__ import annotations

import pickle
import sys
import traceback
from typing import Any

import pytest
from celery import Celery, Task
from celery.exceptions import Retry as CeleryRetry

from celeriac import Event, EventBus, Retry
from celeriac.delivery import FetchRequest, Group
from celeriac.event import read_header
from celeriac.testing.store import Store
from celeriac.worker.delivery_task import write_pairs
from celeriac.worker.tasks import HandlerExited, HandlerFailed, _options


def charge(event: Event) -> None:
    """Charges the card."""


def call(bus: EventBus, store: Store, *ids: str) -> Any:
    """What a pool process does with the delivery task of these events."""
    group = Group("order", "billing.handle")
    store.event_log.join("order", group.handler, "0")
    for id in ids:
        bus.emit("order.placed", id=id)
    (taken,) = store.deliveries.fetch(bus.service.worker, [FetchRequest(group, limit=100)])
    pairs = write_pairs((d.entry, read_header(d.body or b"").key) for d in taken.deliveries)
    return bus.app.tasks["billing.handle"].run(domain="order", events=pairs)


def test_an_app_that_was_there_keeps_its_settings_and_tasks() -> None:
    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.update(task_acks_late=True, task_default_queue="shop", worker_prefetch_multiplier=8)

    def clean() -> str:
        return "clean"

    cleanup: Any = app.task(clean, name="shop.cleanup", rate_limit="1/m")
    app.finalize()
    tasks, conf = dict(app.tasks), dict(app.conf)
    bus = EventBus(app, service="billing")
    bus.on("order.placed")(charge)
    assert {**tasks, "billing.charge": app.tasks["billing.charge"]} == dict(app.tasks)
    assert conf == dict(app.conf)
    assert (True, "1/m") == (
        app.tasks["shop.cleanup"].acks_late,
        app.tasks["shop.cleanup"].rate_limit,
    )
    assert "clean" == cleanup()
    assert app is bus.app


def test_a_handler_is_a_task_with_its_name_doc_and_limits() -> None:
    app = Celery("shop", broker="memory://", set_as_current=False)
    bus = EventBus(app, service="billing")
    bus.on("order.placed", time_limit=9, soft_time_limit=5)(charge)
    task = app.tasks["billing.charge"]
    assert "Charges the card." == task.__doc__
    assert (9, 5, True, False) == (
        task.time_limit, task.soft_time_limit, task.ignore_result, task.acks_late
    )  # fmt: skip


class Retrying(Task):  # type: ignore[misc]
    autoretry_for = (Exception,)
    acks_late = True
    rate_limit = "1/h"
    max_retries = 1
    serializer = "pickle"
    expires = 1


@pytest.mark.parametrize("finalized", [False, True])
def test_no_task_setting_of_the_app_reaches_a_handler(finalized: bool) -> None:
    """Neither its settings, nor its annotations, nor its class of tasks."""
    app = Celery("shop", broker="memory://", set_as_current=False, task_cls=Retrying)
    every = {"rate_limit": "1/h", "acks_late": True, "time_limit": 3, "soft_time_limit": 2}
    app.conf.update(
        task_annotations=({"*": every}, {"shop.charge": {"max_retries": 1, "priority": 3}}),
        task_default_rate_limit="1/h",
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_ignore_result=False,
        task_store_errors_even_if_ignored=True,
        task_track_started=True,
        task_time_limit=3,
        task_soft_time_limit=2,
        task_default_priority=3,
        task_compression="gzip",
    )
    if finalized:
        app.finalize()
    bus = EventBus(app)
    bus.on("order.placed", time_limit=9)(charge)
    task = app.tasks["shop.charge"]
    options = {**_options(bus.service.handlers["shop.charge"]), "priority": None}
    assert {option: getattr(task, option) for option in options} == options
    assert (9, 0, None, False) == (
        task.time_limit, task.soft_time_limit, task.rate_limit, task.acks_late
    )  # fmt: skip
    assert not hasattr(task, "_orig_run"), "Celery wraps what it retries by itself"


def test_an_app_made_for_the_service_has_the_handlers_so_far_and_those_to_come() -> None:
    bus = EventBus(service="billing", broker_url="memory://")
    bus.on("order.placed")(charge)
    assert "billing.charge" in bus.app.tasks
    bus.on("order.placed", name="later")(charge)
    assert "billing.later" in bus.app.tasks
    assert ("billing", True) == (bus.app.conf.task_default_queue, bus.app.conf.task_ignore_result)


def test_two_services_in_one_app_run_side_by_side() -> None:
    app = Celery("shop", broker="memory://", set_as_current=False)
    for service in ("billing", "shipping"):
        EventBus(app, service=service).on("order.placed")(charge)
    assert {"billing.charge", "shipping.charge"} <= app.tasks.keys()
    steps: Any = app.steps
    dispatchers = {str(s.name) for s in steps["worker"] if "dispatcher" in str(s.name)}
    assert dispatchers == {"celeriac.dispatcher.billing", "celeriac.dispatcher.shipping"}


def test_a_task_returns_what_it_did(bus: EventBus, store: Store) -> None:
    bus.on("order.placed", name="handle")(charge)
    assert "2 processed" == call(bus, store, "a", "b")


def test_a_task_of_one_event_fails_as_its_handler_did(bus: EventBus, store: Store) -> None:
    def handle(event: Event) -> None:
        raise ValueError("no")

    bus.on("order.placed")(handle)
    with pytest.raises(ValueError, match="no"):
        call(bus, store, "a")


def test_a_task_of_many_succeeds_and_counts_the_failures(bus: EventBus, store: Store) -> None:
    def handle(event: Event) -> None:
        raise ValueError("no")

    bus.on("order.placed")(handle)
    assert "2 retried" == call(bus, store, "a", "b")


def test_asking_for_a_retry_is_shown_as_one(bus: EventBus, store: Store) -> None:
    def handle(event: Event) -> None:
        raise Retry("later", after=3)

    bus.on("order.placed")(handle)
    with pytest.raises(CeleryRetry, match="later"):
        call(bus, store, "a")


def test_asking_for_a_retry_with_a_long_reason_is_shown_with_a_short_one(
    bus: EventBus, store: Store
) -> None:
    def handle(event: Event) -> None:
        raise Retry("x" * 900_000, after=3)

    bus.on("order.placed")(handle)
    with pytest.raises(CeleryRetry) as retried:
        call(bus, store, "a")
    assert len(pickle.dumps(retried.value)) < 2_000
    again: Any = retried.value.exc
    assert 3 == again.after


def test_sys_exit_in_a_handler_does_not_end_the_worker(bus: EventBus, store: Store) -> None:
    def handle(event: Event) -> None:
        sys.exit(1)

    bus.on("order.placed")(handle)
    with pytest.raises(HandlerExited, match="SystemExit: 1"):
        call(bus, store, "a")


def test_the_task_of_an_event_fails_with_a_short_error_where_its_own_is_long(
    bus: EventBus, store: Store
) -> None:
    """Celery sends error and traceback to monitors, which keep them in memory."""

    @bus.on("order.*", name="handle")
    def handle(event: Event) -> None:
        raise ValueError("x" * 900_000)

    with pytest.raises(HandlerFailed) as failed:
        call(bus, store, "1")
    assert str(failed.value).startswith("ValueError: xxx")
    text = "".join(traceback.format_exception(failed.value))
    assert "in handle" in text and len(text) < 20_000
