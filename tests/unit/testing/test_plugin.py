"""The fixtures, loaded by name."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence

import pytest

from celeriac import Event, EventBus, emit, set_default_bus
from celeriac.testing import Captured, MemoryBus

pytest_plugins = ["celeriac.testing.plugin"]

bus = EventBus(service="billing", redis_url="redis://127.0.0.1:1/0")
ran: list[str] = []


@bus.on("order.placed")
def charge(event: Event) -> None:
    ran.append(event.id)


@pytest.fixture(autouse=True)
def no_default_bus() -> Iterator[None]:
    yield
    set_default_bus(None)


@pytest.fixture
def celeriac_buses() -> Sequence[EventBus]:
    return (bus,)


def test_captured_events(captured_events: Captured) -> None:
    emit("order.placed", id="a")
    captured_events.assert_emitted("order.placed", id="a")
    assert [] == ran


def test_memory_bus(memory_bus: MemoryBus) -> None:
    bus.emit("order.placed", id="b")
    memory_bus.run_until_idle()
    assert ["b"] == ran


def test_the_package_needs_no_pytest() -> None:
    code = "import sys; sys.modules['pytest'] = None; import celeriac.testing"
    subprocess.run([sys.executable, "-c", code], check=True)
