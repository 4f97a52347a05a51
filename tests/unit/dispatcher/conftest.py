"""A dispatcher over the store in memory, whose delivery tasks go to a list."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from celeriac import EventBus
from celeriac.dispatcher import Chunk, Dispatcher
from celeriac.registry import WorkerRecord
from celeriac.testing.store import Store


class Sent(list[Chunk]):
    """The delivery tasks that were sent. While `away`, the broker takes none."""

    away: Exception | None = None

    def send(self, chunk: Chunk) -> None:
        if self.away is not None:
            raise self.away
        self.append(chunk)

    @property
    def ids(self) -> list[list[str]]:
        return [[item.event.id for item in chunk.items] for chunk in self]


@pytest.fixture
def sent() -> Sent:
    return Sent()


MakeDispatcher = Callable[..., Dispatcher]


@pytest.fixture
def dispatcher(bus: EventBus, store: Store, sent: Sent) -> MakeDispatcher:
    """Makes a dispatcher for the handlers that the bus has by then; at each turn every duty is
    due."""

    def make(**options: Any) -> Dispatcher:
        given: dict[str, Any] = {
            "processes": 1,
            "describe": lambda: record(bus),
            "clock": count(0.0, 3600.0).__next__,
            **options,
        }
        made = Dispatcher(bus.service, sent.send, **given)
        made.run_once()
        return made

    return make


def record(bus: EventBus) -> WorkerRecord:
    return WorkerRecord(
        name=bus.service.worker, service="billing", hostname="h", pid=1, pool="solo", processes=1,
        queues=("billing",), version="0",
    )  # fmt: skip
