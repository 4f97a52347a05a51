"""Deliveries that are queued, as the dispatcher leaves them, and an executor to run them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from celeriac import EventBus
from celeriac.delivery import DeliveryState, FetchRequest, Group, Row
from celeriac.event import event_key, read_header
from celeriac.executor import Executor, Report
from celeriac.handler import Handler
from celeriac.testing.store import Store


class Bench:
    """One handler, subscribed to `order.placed`."""

    def __init__(self, bus: EventBus, store: Store) -> None:
        self.bus, self.store = bus, store
        self.executor = Executor(bus.service)

    def subscribe(self, function: Callable[..., Any], **options: Any) -> Handler:
        self.bus.on("order.placed", name="handle", **options)(function)
        self.handler = self.bus.service.handlers["billing.handle"]
        self.group: Group = self.handler.group("order")
        self.store.event_log.join("order", self.handler.id, "0")
        return self.handler

    def queue(self) -> list[tuple[str, str]]:
        """The task for all deliveries that can be fetched: waiting, due, or expired."""
        (taken,) = self.store.deliveries.fetch(
            self.bus.service.worker, [FetchRequest(self.group, limit=100, reclaim=True)]
        )
        return [(d.entry, read_header(d.body or b"").key) for d in taken.deliveries]

    def execute(self, pairs: list[tuple[str, str]] | None = None) -> Report:
        return self.executor.execute(
            self.handler, "order", self.queue() if pairs is None else pairs
        )

    def key(self, event_id: str) -> str:
        return event_key(event_id, self.bus.service.settings.source)

    def row(self, event_id: str) -> Row | None:
        return self.store.deliveries.rows(self.group, [self.key(event_id)])[0]

    def place(self, event_id: str) -> DeliveryState | None:
        row = self.row(event_id)
        return row.state if row else None

    def emit(self, *ids: str, data: Any = None) -> None:
        for id in ids:
            self.bus.emit("order.placed", data, id=id)


@pytest.fixture
def bench(bus: EventBus, store: Store) -> Bench:
    return Bench(bus, store)
