"""What monitors receive about a failure within a chunk, by Celery's own task events."""

from __future__ import annotations

import logging
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery

from celeriac import Event, EventBus
from celeriac.delivery import Outcome
from celeriac.event import event_key
from celeriac.executor import FailedAttempt, Report
from celeriac.worker.failure_events import show_failures

FAILED = FailedAttempt(
    event_key("7", "shop"),
    "order.placed",
    2,
    Outcome.RETRY,
    ValueError("no card"),
    "Traceback",
    "c",
)


def watched(broker: str, failures: list[FailedAttempt]) -> tuple[Celery, Any]:
    app = Celery("billing", broker=broker, set_as_current=False)
    bus = EventBus(app, service="billing")

    @bus.on("order.placed")
    def charge(event: Event) -> None: ...

    task = SimpleNamespace(app=app, request=SimpleNamespace(hostname="billing@h"))
    handler = bus.service.handlers["billing.charge"]
    return app, lambda: show_failures(task, handler, Report(pairs=2, failures=failures))


def test_a_failure_within_a_chunk_is_a_failed_task_of_its_own() -> None:
    app, show = watched("memory://", [FAILED])
    seen: list[dict[str, Any]] = []
    with app.connection() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": seen.append})
        with receiver.consumer_context():
            show()
            receiver.capture(limit=3, timeout=5, wakeup=False)
    assert ["task-received", "task-started", "task-failed"] == [event["type"] for event in seen]
    received, _, failed = seen
    assert ("billing.charge", 1, "7", "c") == tuple(
        received[name] for name in ("name", "retries", "parent_id", "root_id")
    )
    assert ("ValueError: no card", "Traceback", True) == tuple(
        failed[name] for name in ("exception", "traceback", "retried")
    )
    assert {"billing@h"} == {event["hostname"] for event in seen}
    assert 1 == len({event["uuid"] for event in seen})


def test_unreachable_monitors_fail_nothing(caplog: pytest.LogCaptureFixture) -> None:
    _, show = watched("redis://127.0.0.1:1", [FAILED])
    with caplog.at_level(logging.WARNING):
        show()
    assert "failures were not reported" in caplog.text


def test_an_error_of_any_length_is_a_short_one_for_monitors() -> None:
    """They keep every task in memory."""
    long = replace(FAILED, error=ValueError("x" * 900_000))
    app, show = watched("memory://", [long])
    seen: list[dict[str, Any]] = []
    with app.connection() as connection:
        receiver = app.events.Receiver(connection, handlers={"task-failed": seen.append})
        with receiver.consumer_context():
            show()
            receiver.capture(limit=3, timeout=5, wakeup=False)
    assert seen[0]["exception"].startswith("ValueError: xxx")
    assert len(seen[0]["exception"]) <= 500
