"""A service on a store in memory, for what needs more than pure functions and less than Redis."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from celeriac import EventBus
from celeriac.testing.store import Store


@pytest.fixture
def bus() -> EventBus:
    return EventBus(service="billing", redis_url="redis://127.0.0.1:1/0")


@pytest.fixture
def store(bus: EventBus) -> Iterator[Store]:
    """Every bus of the process works on it during the test."""
    store = Store(bus.settings)
    with store.installed():
        yield store
