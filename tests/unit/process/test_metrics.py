"""Metrics have the open, completed and aborted instances, and the age of the oldest open one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from celeriac import EventBus, Settings
from celeriac.observability.metrics import collector
from celeriac.observability.metrics.snapshot import InstanceCount
from celeriac.outbox.database import Execute, open_database
from celeriac.process import create_processes, metrics
from celeriac.process.decision import Status
from celeriac.process.metrics import reader
from celeriac.process.query import Count
from tests.logged import messages_of
from tests.unit.process.conftest import bench_on
from tests.unit.process.shop import fulfilment


def test_instances_are_counted_by_status(bus: EventBus, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'shop.sqlite'}"
    engine = create_engine(url, poolclass=NullPool)
    create_processes(engine)
    bus.process(fulfilment(engine))
    settings = Settings.load({}, service="billing", outbox_url=url)
    with bench_on(bus, open_database(url)) as bench:
        for number in range(3):
            bus.emit("order.placed", {"cents": 1}, subject=f"order-{number}")
        bench.run(jump=False)
        bus.emit("payment.failed", subject="order-0")
        bench.run(jump=False)
        registry = CollectorRegistry()
        registry.register(collector(bus.service.backend, read_instances=reader(settings)))
        labels = {"service": "billing", "handler": "billing.fulfilment"}
        counted = {
            status: registry.get_sample_value(
                "celeriac_process_instances", {**labels, "status": status}
            )
            for status in ("open", "aborted", "completed")
        }
        assert counted == {"open": 2, "aborted": 1, "completed": None}
        oldest = registry.get_sample_value("celeriac_process_oldest_seconds", labels)
        assert oldest is not None and -1 < oldest < 60


@pytest.mark.parametrize("url", ["", "sqlite://", "sqlite:////nonexistent/no.sqlite"])
def test_a_database_without_processes_has_no_series(url: str) -> None:
    assert list(reader(Settings.load({}, outbox_url=url))()) == []


def test_a_failure_is_logged_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    read = reader(Settings.load({}, outbox_url="sqlite:////nonexistent/no.sqlite"))
    assert () == read()
    [message] = messages_of(caplog, metrics)
    assert message.startswith("celeriac: reading the instances of processes failed: Operational")
    assert "\n" not in message


@pytest.mark.parametrize("fails", [False, True])
def test_the_database_is_closed_after_each_read(
    monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    closed: list[bool] = []

    class Empty:
        kind = "sqlite"

        @contextmanager
        def transaction(self) -> Iterator[Execute]:
            if fails:
                raise OSError
            yield lambda sql, parameters: []

        def close(self) -> None:
            closed.append(True)

    monkeypatch.setattr(metrics, "open_database", lambda url: Empty())
    assert [] == list(reader(Settings.load({}, outbox_url="sqlite://"))())
    assert [True] == closed


def test_the_age_of_the_oldest_instance_is_in_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    database = SimpleNamespace(close=lambda: None)
    counted = [Count("billing.flow", Status.OPEN, 3, 995_500)]
    monkeypatch.setattr(metrics, "open_database", lambda url: database)
    monkeypatch.setattr(metrics, "has_processes", lambda given: given is database)
    monkeypatch.setattr(metrics, "counts", lambda given: counted)
    monkeypatch.setattr("time.time", lambda: 1000.0)
    read = reader(Settings.load({}, outbox_url="sqlite://"))
    assert [InstanceCount("billing.flow", "open", 3, 4.5)] == list(read())
