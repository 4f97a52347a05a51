"""What the pages of processes read."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from celeriac import ConfigurationError, EventBus
from celeriac.errors import NotFound
from celeriac.flower.view.processes import read_instance_view, read_processes
from celeriac.outbox.database import open_database
from celeriac.process import Status, create_processes
from celeriac.settings import Settings
from tests.unit.process.conftest import bench_on
from tests.unit.process.shop import fulfilment


def test_instances_of_one_status_are_read_with_the_numbers_of_all(
    bus: EventBus, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'shop.sqlite'}"
    engine = create_engine(url, poolclass=NullPool)
    create_processes(engine)
    bus.process(fulfilment(engine))
    settings = Settings.load({}, outbox_url=url)
    with bench_on(bus, open_database(url)) as bench:
        for number in range(3):
            bus.emit("order.placed", {"cents": number}, subject=f"order-{number}")
        bench.run(jump=False)
        bus.emit("payment.failed", subject="order-1")
        bench.run(jump=False)
    read = read_processes(settings, Status.OPEN, "")
    assert [row.key for row in read.rows] == ["order-0", "order-2"]
    assert (read.number(Status.OPEN, ""), read.number(Status.ABORTED, "")) == (2, 1)
    assert read.number(Status.OPEN, "billing.other") == 0
    assert read.handlers == ["billing.fulfilment"]
    assert read_processes(settings, Status.OPEN, "billing.other").rows == []
    view = read_instance_view(settings, "billing.fulfilment", "order-1", {"cents"})
    assert (view.reason, view.state["cents"]) == ("payment.failed", "***")
    with pytest.raises(NotFound, match="instance not found"):
        read_instance_view(settings, "billing.fulfilment", "unknown", frozenset())


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("", "Set CELERIAC_OUTBOX_URL"),
        ("sqlite://", "The database has no tables of processes."),
        ("sqlite:////nonexistent/no.sqlite", "The database failed: "),
    ],
)
def test_a_page_without_a_database_shows_the_reason(url: str, problem: str) -> None:
    read = read_processes(Settings.load({}, outbox_url=url), Status.OPEN, "")
    assert read.problem.startswith(problem)
    assert "\n" not in read.problem


def test_an_instance_without_a_database_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="CELERIAC_OUTBOX_URL is not set"):
        read_instance_view(Settings.load({}), "billing.fulfilment", "order-1", frozenset())
