from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from celeriac import Event, EventBus
from celeriac.process import Process, Status, create_processes, on, reminded, starts
from celeriac.testing import MemoryBus, in_memory
from devtools.demo.fulfilment import Fulfilment, OrderCounts, OrderStory


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[tuple[MemoryBus, EventBus, Fulfilment]]:
    url = f"sqlite:///{tmp_path / 'orders.sqlite'}"
    engine = create_engine(url)
    create_processes(engine)
    bus = EventBus(service="orders", redis_url="redis://127.0.0.1:1/0")

    @bus.process
    class Order(Process[dict[str, int]], inbox=engine, name="fulfilment"):
        @starts("order.placed")
        def placed(self, event: Event) -> None:
            self.emit("payment.requested", undo="payment.refund_requested")
            self.remind("unpaid", after=60)

        @on("payment.captured")
        def paid(self, event: Event) -> None:
            self.complete()

        @reminded("unpaid")
        def unpaid(self) -> None:
            self.abort("not paid in time")

    with in_memory(bus, databases=True) as memory:
        yield memory, bus, Fulfilment(url)
    engine.dispose()


def test_orders_are_counted_until_they_are_completed(
    shop: tuple[MemoryBus, EventBus, Fulfilment],
) -> None:
    memory, bus, fulfilment = shop
    assert fulfilment.counts() == OrderCounts() and fulfilment.examples() == []
    for key in ("order/1", "order/2"):
        bus.emit("order.placed", None, subject=key)
    memory.run_until_idle(jump=False)
    assert fulfilment.counts() == OrderCounts(open=2)
    bus.emit("payment.captured", None, subject="order/1")
    memory.run_until_idle()
    counts = fulfilment.counts()
    assert counts == OrderCounts(completed=1, aborted=1)
    assert counts.is_finished
    assert fulfilment.abort_reasons() == {"not paid in time": 1}
    assert fulfilment.examples() == [
        OrderStory(
            "order/1",
            Status.COMPLETED,
            "",
            [("order.placed", ["payment.requested"]), ("payment.captured", [])],
        ),
        OrderStory(
            "order/2",
            Status.ABORTED,
            "not paid in time",
            [
                ("order.placed", ["payment.requested"]),
                ("process.reminded", ["payment.refund_requested"]),
            ],
        ),
    ]
