"""Fixtures for pytest: `pytest_plugins = ["celeriac.testing.plugin"]` in the root conftest.py.

No entry point loads it: that would import celeriac in every pytest run of every project, and
before coverage begins to measure.
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
    """What the test emits, on any bus; no handler runs."""
    with capture() as events:
        yield events


@pytest.fixture
def celeriac_buses() -> Sequence[EventBus]:
    """The buses whose handlers `memory_bus` runs. Override it in your conftest.py."""
    return ()


@pytest.fixture
def memory_bus(celeriac_buses: Sequence[EventBus]) -> Iterator[MemoryBus]:
    """The bus in memory, with the handlers of `celeriac_buses`."""
    with in_memory(*celeriac_buses) as memory:
        yield memory
