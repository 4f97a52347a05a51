"""Which serializer delivery tasks are sent with."""

from __future__ import annotations

from typing import Any

import pytest
from celery import Celery

from celeriac import ConfigurationError, Event, EventBus
from celeriac.worker.bootstep import DispatcherStep
from celeriac.worker.direct_delivery import local_message
from celeriac.worker.serializer import delivery_serializer


def app_with(**conf: Any) -> Celery:
    app = Celery("billing", broker="memory://", set_as_current=False)
    app.conf.update(conf)
    return app


@pytest.mark.parametrize(
    ("conf", "serializer"),
    [
        ({}, "json"),
        ({"task_serializer": "pickle", "accept_content": ["pickle", "json"]}, "json"),
        ({"task_serializer": "pickle", "accept_content": ["application/json"]}, "json"),
        ({"task_serializer": "pickle", "accept_content": ["pickle"]}, "pickle"),
        ({"task_serializer": "json", "accept_content": ["pickle"]}, "pickle"),
        ({"accept_content": ["application/x-python-serialize"]}, "pickle"),
    ],
)
def test_tasks_are_sent_with_a_serializer_that_the_app_accepts(
    conf: dict[str, Any], serializer: str
) -> None:
    assert delivery_serializer(app_with(**conf)) == serializer


@pytest.mark.parametrize("accepted", [[], ["no-such-serializer"]])
def test_an_app_that_accepts_nothing_of_use_does_not_start(accepted: list[str]) -> None:
    app = app_with(accept_content=accepted)
    bus = EventBus(app, service="billing", redis_url="redis://127.0.0.1:1/0")

    @bus.on("order.placed")
    def charge(event: Event) -> None: ...

    class Step(DispatcherStep):
        service = bus.service

    class Worker:
        pass

    worker: Any = Worker()
    worker.app = app
    step: Any = object.__new__(Step)
    with pytest.raises(ConfigurationError, match="accept_content"):
        step.include_if(worker)


def test_direct_delivery_uses_it_too() -> None:
    app = app_with()
    bus = EventBus(app, service="billing", redis_url="redis://127.0.0.1:1/0")

    @bus.on("order.placed")
    def charge(event: Event) -> None: ...

    task = app.tasks["billing.charge"]
    message = local_message(app, task, "billing", {"kwargs": {}}, "pickle")
    assert message.content_type == "application/x-python-serialize"
