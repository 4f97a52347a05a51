"""A service on a store in memory, for what needs more than pure functions and less than Redis."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from celeriac import EventBus
from celeriac.executor import chunk_executor, running_chunk
from celeriac.testing.store import Store

# The rest of a chunk is requeued if a handler's first chunk takes 100 ms, or another one a second;
# what ran is counted after 100 ms. A process of a busy machine may be stopped for as long: its test
# would find that rest scheduled, or two counts for one chunk.
chunk_executor.FIRST_CHUNK, chunk_executor.LONGEST_CHUNK = 50.0, 60.0
running_chunk.COUNT_AFTER = 60.0


@pytest.fixture
def bus() -> EventBus:
    return EventBus(service="billing", redis_url="redis://127.0.0.1:1/0")


@pytest.fixture
def store(bus: EventBus) -> Iterator[Store]:
    """Every bus of the process works on it during the test."""
    store = Store(bus.settings)
    with store.installed():
        yield store
