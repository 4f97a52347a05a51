"""Fixtures for pytest: `pytest_plugins = ["celeriac.testing.plugin"]` in the root conftest.py.

It has no entry point, which would import celeriac in every pytest run of every project, before
coverage starts to measure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from celeriac.bus import EventBus
from celeriac.testing.capture import capture
from celeriac.testing.captured import Captured
from celeriac.testing.memory import MemoryBus, in_memory


@pytest.fixture
def captured_events() -> Iterator[Captured]:
    """Return the events that the test emits, on any bus; no handler runs."""
    with capture() as events:
        yield events


@pytest.fixture
def celeriac_buses() -> Sequence[EventBus]:
    """Return the buses whose handlers `memory_bus` runs. Override it in your conftest.py."""
    return ()


@pytest.fixture
def memory_bus(celeriac_buses: Sequence[EventBus]) -> Iterator[MemoryBus]:
    """Return a bus in memory with the handlers of `celeriac_buses`."""
    with in_memory(*celeriac_buses) as memory:
        yield memory
