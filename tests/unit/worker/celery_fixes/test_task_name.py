"""A handler and a task of the app that have the same name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery, Task, _state, shared_task

from celeriac import Event, EventBus, SubscriptionError
from celeriac.worker.celery_fixes.task_name import check_task


@pytest.fixture(autouse=True)
def no_shared_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks that are shared here do not go to the apps of other tests."""
    monkeypatch.setattr(_state, "_on_app_finalizers", set())


def charge(event: Event) -> None: ...


def refund(number: int) -> int:
    return number


def by_app(app: Celery) -> Any:
    return app.task(refund, name="billing.charge")


def by_app_alone(app: Celery) -> Any:
    return app.task(refund, name="billing.charge", shared=False)


def by_shared_task(app: Celery) -> Any:
    return shared_task(name="billing.charge")(refund)


def by_name_of_module(app: Celery) -> Any:
    def charge(number: int) -> int:
        return number

    charge.__module__ = "billing"
    return app.task(charge)


@pytest.mark.parametrize("finalized", [False, True])
@pytest.mark.parametrize("first", ["handler", "task"])
@pytest.mark.parametrize("define", [by_app, by_app_alone, by_shared_task, by_name_of_module])
def test_whichever_is_defined_first_the_second_is_refused(
    define: Callable[[Celery], Any], first: str, finalized: bool
) -> None:
    """Celery would send the handler instead of the task, or run the task instead of it."""
    app = Celery("billing", broker="memory://", set_as_current=False)
    if finalized:
        app.finalize()
    subscribe = EventBus(app).on("order.placed")
    with pytest.raises(SubscriptionError, match=r"billing\.charge.*@app\.task\(name="):
        if first == "task":
            define(app)
            subscribe(charge)
        else:
            subscribe(charge)
            define(app)
        app.finalize()


def test_a_task_class_that_replaces_a_handler_is_refused_at_the_start() -> None:
    app = Celery("billing", broker="memory://", set_as_current=False)
    app.finalize()
    bus = EventBus(app)
    bus.on("order.placed")(charge)
    handler = bus.service.handlers["billing.charge"]
    check_task(app, handler)

    class Charge(Task):  # type: ignore[misc]
        name = "billing.charge"

    app.tasks.register(Charge())
    with pytest.raises(SubscriptionError, match="has a task of that name"):
        check_task(app, handler)


def test_other_tasks_of_the_app_are_made_as_before() -> None:
    app = Celery("shop", broker="memory://", set_as_current=False)
    for service in ("billing", "shipping"):
        EventBus(app, service=service).on("order.placed")(charge)
    named: Any = app.task(refund, name="shop.refund")
    unnamed: Any = app.task(refund)
    again: Any = app.task(refund, name="shop.refund")
    assert 7 == named(7) == again(7) and 7 == unnamed(7)
    assert f"{__name__}.refund" == unnamed.name
