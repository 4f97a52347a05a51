"""shadow(): an event for each call of a task, and both compared in the matrix."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery, _state
from celery.app.log import Logging
from celery.contrib.testing.worker import start_worker
from celery.signals import before_task_publish, setup_logging

from celeriac import Event, EventBus, SubscriptionError, in_share
from celeriac.shadow import is_moved, shadow
from celeriac.testing import in_memory
from celeriac.testing.memory import MemoryBus
from celeriac.tracking import Matrix


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """Disconnect the receivers of each test at its end."""
    signal: Any = before_task_publish
    before = list(signal.receivers)
    yield
    signal.receivers[:] = before
    signal.sender_receivers_cache.clear()


@pytest.fixture
def app() -> Any:
    return Celery("billing", broker="memory://", backend="cache+memory://", set_as_current=False)


@pytest.fixture
def bus(app: Any) -> EventBus:
    return EventBus(app, service="billing")


def complete(app: Any, id: str, state: str = "SUCCESS", error: Exception | None = None) -> None:
    """Store the result of a task, as a worker does."""
    if error is None:
        app.backend.store_result(id, None, state)
    else:
        app.backend.mark_as_failure(id, error)


def states(memory: MemoryBus, id: str) -> dict[str, str]:
    cells = Matrix(memory.store.backend).status(id).cells
    return {cell.handler: cell.state.value for cell in cells}


def new_charge(event: Event) -> None: ...


def test_both_are_in_the_matrix(app: Any, bus: EventBus) -> None:
    @app.task(name="tasks.charge", shared=False)
    def charge(order: int) -> None: ...

    name = shadow(
        bus, charge, "charge.asked",
        data=lambda order: {"order": order}, subject=lambda order: f"order/{order}",
    )  # fmt: skip
    assert "billing.charge_task" == name
    bus.on("charge.asked", name="charge_card")(new_charge)
    with in_memory(bus) as memory:
        good, bad = charge.delay(1), charge.delay(order=2)
        [first, second] = memory.emitted
        assert (good.id, "order/1", {"order": 1}) == (first.id, first.subject, first.data)
        assert {"order": 2} == second.data
        assert first.extensions["shadow"] is True
        memory.run_until_idle(jump=False)
        assert {"billing.charge_task": "scheduled", "billing.charge_card": "processed"} == states(
            memory, good.id
        )
        complete(app, good.id)
        complete(app, bad.id, error=ValueError("card 4111 declined"))
        memory.run_until_idle()
        assert "processed" == states(memory, good.id)["billing.charge_task"]
        assert "dead" == states(memory, bad.id)["billing.charge_task"]
        [dead] = memory.dead
        assert "the task ended as FAILURE: ValueError" in dead.error
        assert "4111" not in dead.error


def test_without_data_the_arguments_are_the_data(app: Any, bus: EventBus) -> None:
    @app.task(shared=False)
    def charge(order: int, *, cents: int) -> None: ...

    shadow(bus, charge, "charge.asked")
    with in_memory(bus) as memory:
        charge.delay(7, cents=100)
        [event] = memory.emitted
        assert {"args": [7], "kwargs": {"cents": 100}} == event.data


def test_events_that_are_emitted_otherwise_have_no_task_to_wait_for(
    app: Any, bus: EventBus
) -> None:
    @app.task(shared=False)
    def charge() -> None: ...

    shadow(bus, charge, "charge.asked")
    with in_memory(bus) as memory:
        id = bus.emit("charge.asked")
        memory.run_until_idle()
        assert {"billing.charge_task": "skipped"} == states(memory, id)


def test_a_call_for_later_emits_at_that_time(app: Any, bus: EventBus) -> None:
    @app.task(shared=False)
    def charge() -> None: ...

    shadow(bus, charge, "charge.asked")
    with in_memory(bus) as memory:
        result = charge.apply_async(countdown=3600)
        assert "delayed" == Matrix(memory.store.backend).status(result.id).location


def test_a_retry_of_the_task_emits_nothing(app: Any, bus: EventBus) -> None:
    @app.task(shared=False)
    def charge() -> None: ...

    shadow(bus, charge, "charge.asked")
    with in_memory(bus) as memory:
        charge.apply_async(retries=1)
        assert [] == list(memory.emitted)


@pytest.mark.parametrize("kind", ["subject", "data", "unserializable"])
def test_a_call_of_the_task_never_fails_for_its_event(
    app: Any, bus: EventBus, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    @app.task(shared=False)
    def charge(card: str) -> None: ...

    def wrong(card: str) -> Any:
        raise KeyError(card)

    shadow(
        bus, charge, "charge.asked",
        data={"data": wrong, "unserializable": lambda card: object()}.get(kind),
        subject=wrong if kind == "subject" else None,
    )  # fmt: skip
    with in_memory(bus) as memory, caplog.at_level(logging.WARNING):
        assert charge.delay("4111").id
        assert [] == list(memory.emitted)
    assert "charge.asked was not emitted for task" in caplog.text
    assert "4111" not in caplog.text


@pytest.fixture
def unchanged_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Undo what a worker does to its process: it configures logging, and its app is the default.

    Celery, or a receiver of `setup_logging`, would change which lines later tests see.
    """
    state: Any = _state
    signal: Any = setup_logging
    current, environ = state._tls.current_app, dict(os.environ)
    monkeypatch.setattr(state, "default_app", state.default_app)
    monkeypatch.setattr(Logging, "_setup", False)

    def configured(**_: Any) -> None: ...

    monkeypatch.setattr(signal, "receivers", [])
    signal.sender_receivers_cache.clear()
    signal.connect(configured)
    yield
    signal.sender_receivers_cache.clear()
    logging.captureWarnings(False)
    state._tls.current_app = current
    os.environ.clear()
    os.environ.update(environ)


@pytest.mark.usefixtures("unchanged_process")
def test_a_moved_call_is_done_by_the_handler_and_not_by_the_task(app: Any, bus: EventBus) -> None:
    """With a real worker: one decision for each call, carried by the message and by the event.

    It uses a separate queue, because queues in memory outlive an app.
    """
    app.conf.task_default_queue = "moved"
    by_task: list[int] = []

    @app.task(name="tasks.moved_charge", shared=False)
    def charge(order: int) -> None:
        if not is_moved(charge):
            by_task.append(order)

    shadow(
        bus, charge, "charge.asked", data=lambda order: order,
        subject=lambda order: f"order/{order}", moved=0.5,
    )  # fmt: skip
    by_handler: list[int] = []

    def charge_card(event: Event) -> None:
        by_handler.append(event.data)

    bus.on("charge.asked", when=is_moved)(charge_card)
    with in_memory(bus) as memory:
        results = [charge.delay(order) for order in range(20)]
        worker: Any = start_worker(app, pool="solo", perform_ping_check=False, shutdown_timeout=20)
        with worker:
            for result in results:
                result.get(timeout=20)
        memory.run_until_idle()
        name = "billing.moved_charge_task"
        assert {"processed"} == {states(memory, one.id)[name] for one in results}
    assert sorted(by_handler) == [n for n in range(20) if in_share(f"order/{n}", 0.5)]
    assert sorted(by_task + by_handler) == list(range(20)), "each exactly once"


def test_a_call_whose_event_cannot_be_emitted_is_not_moved(app: Any, bus: EventBus) -> None:
    @app.task(shared=False)
    def charge(order: int) -> None: ...

    headers: list[dict[str, Any]] = []
    shadow(bus, charge, "charge.asked", data=lambda order: object(), moved=1)

    def note(headers_: Any = None, **given: Any) -> None:
        headers.append(given["headers"])

    before_task_publish.connect(note, sender=charge.name, weak=False)
    with in_memory(bus):
        charge.delay(1)
    assert "celeriac_moved" not in headers[0]


@pytest.mark.parametrize("moved", [-0.1, 1.1, True, "0.1"])
def test_what_is_no_part_is_refused(app: Any, bus: EventBus, moved: Any) -> None:
    @app.task(shared=False)
    def charge() -> None: ...

    with pytest.raises(SubscriptionError, match="moved="):
        shadow(bus, charge, "charge.asked", moved=moved)


def test_a_task_without_results_is_refused(app: Any, bus: EventBus) -> None:
    @app.task(ignore_result=True, shared=False)
    def forgets() -> None: ...

    with pytest.raises(SubscriptionError, match="Set result_backend"):
        shadow(bus, forgets, "charge.asked")
    bare: Any = Celery("billing", broker="memory://", set_as_current=False)

    @bare.task(shared=False)
    def charge() -> None: ...

    with pytest.raises(SubscriptionError, match="Set result_backend"):
        shadow(EventBus(bare), charge, "charge.asked")
    with pytest.raises(SubscriptionError, match="Pass the decorated function"):
        shadow(bus, new_charge, "charge.asked")
