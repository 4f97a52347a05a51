"""What a worker logs when it starts."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest

from celeriac import Event, EventBus
from celeriac.worker import bootstep
from celeriac.worker.bootstep import DispatcherStep, log_start, warn_of_unenforced_limits
from tests.logged import messages_of, records_of


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
def test_one_line_names_the_redis_and_the_handlers(
    caplog: pytest.LogCaptureFixture, queues: tuple[str, ...], line: str
) -> None:
    bus = EventBus(service="billing", redis_url="redis://:secret@127.0.0.1:1/0")
    bus.on("order.placed", "payment.*")(charge)
    bus.on("order.placed", name="report", queue="slow")(charge)
    with caplog.at_level(logging.INFO):
        log_start(bus.service, queues)
    assert messages_of(caplog, bootstep) == [
        f"celeriac: billing on redis://:***@127.0.0.1:1/0 {line}"
    ]
    assert {"INFO"} == {each.levelname for each in records_of(caplog, bootstep)}


@pytest.mark.parametrize(("service", "lines"), [("billing", 1), ("", 0)])
def test_a_worker_without_handlers_names_the_likely_cause(
    caplog: pytest.LogCaptureFixture, service: str, lines: int
) -> None:
    bus = EventBus(service=service, redis_url="redis://127.0.0.1:1/0")
    worker = SimpleNamespace(app=bus.app)
    with caplog.at_level(logging.INFO):
        step = type("Step", (DispatcherStep,), {"service": bus.service})
        assert not step(worker).include_if(worker)
    logged = messages_of(caplog, bootstep)
    assert [True] * lines == ["app.conf.imports" in message for message in logged]


@pytest.mark.parametrize(
    ("pool", "ignored"),
    [
        ("prefork", ""),
        ("gevent", "soft_time_limit"),
        ("thread", "time_limit and soft_time_limit"),
        ("solo", "time_limit and soft_time_limit"),
    ],
)
def test_a_limit_that_the_pool_ignores_is_a_warning(
    caplog: pytest.LogCaptureFixture, pool: str, ignored: str
) -> None:
    bus = EventBus(service="billing", redis_url="redis://127.0.0.1:1/0")
    bus.on("order.placed", time_limit=9, soft_time_limit=5)(charge)
    bus.on("order.placed", name="elsewhere", queue="slow", time_limit=9)(charge)
    bus.on("order.placed", name="unlimited")(charge)
    warn_of_unenforced_limits(bus.service, pool, ("billing",))
    assert [f"celeriac: {ignored} of billing.charge has no effect"] * bool(ignored) == [
        message.rpartition(": Celery does not enforce it in the pool")[0]
        for message in messages_of(caplog, bootstep)
    ]
