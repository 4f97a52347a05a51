"""Metrics have the open, completed and aborted instances, and the age of the oldest open one."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from celeriac import EventBus, Settings
from celeriac.observability.metrics import collector
from celeriac.outbox.database import open_database
from celeriac.process import create_processes
from celeriac.process.metrics import reader
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
