"""What a worker logs when it starts."""

from __future__ import annotations

import logging

import pytest

from celeriac import Event, EventBus
from celeriac.worker.bootstep import log_start


def charge(event: Event) -> None: ...


@pytest.mark.parametrize(
    ("queues", "line"),
    [
        (
            ("billing", "slow", "celery"),
            "runs billing.charge (order.placed, payment.*) from queue billing; "
            "billing.report (order.placed) from queue slow",
        ),
        (
            ("slow",),
            "runs billing.report (order.placed) from queue slow; "
            "left to other workers: billing.charge (queue billing)",
        ),
        (
            (),
            "runs no handler; left to other workers: billing.charge (queue billing); "
            "billing.report (queue slow)",
        ),
    ],
)
def test_one_line_says_where_the_events_are_and_what_runs_here(
    caplog: pytest.LogCaptureFixture, queues: tuple[str, ...], line: str
) -> None:
    bus = EventBus(service="billing", redis_url="redis://:secret@127.0.0.1:1/0")
    bus.on("order.placed", "payment.*")(charge)
    bus.on("order.placed", name="report", queue="slow")(charge)
    with caplog.at_level(logging.INFO):
        log_start(bus.service, queues)
    assert caplog.messages == [f"celeriac: billing on redis://:***@127.0.0.1:1/0 {line}"]
    assert [record.levelname for record in caplog.records] == ["INFO"]
