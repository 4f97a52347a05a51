"""A server that plays the endpoint, and a bus in memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from celeriac import EventBus
from celeriac.testing import MemoryBus, in_memory
from tests.http_endpoint import HttpEndpoint, http_endpoint


@pytest.fixture
def endpoint() -> Iterator[HttpEndpoint]:
    with http_endpoint() as server:
        yield server


@pytest.fixture
def bus() -> EventBus:
    return EventBus(service="shop")


@pytest.fixture
def memory(bus: EventBus) -> Iterator[MemoryBus]:
    with in_memory(bus) as memory:
        yield memory
