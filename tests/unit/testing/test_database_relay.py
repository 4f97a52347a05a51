"""Processes in real databases on a bus in memory: timers and committed events are relayed."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import sessionmaker
from sqlalchemy.pool import NullPool

from celeriac import ConfigurationError, Event, EventBus
from celeriac.process import Process, create_processes, starts
from celeriac.testing import in_memory
from tests.unit.process.shop import State, fulfilment


def test_the_clock_jumps_to_a_timer_in_a_database(bus: EventBus, tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'shop.sqlite'}", poolclass=NullPool)
    create_processes(engine)
    bus.process(fulfilment(sessionmaker(engine)))
    with in_memory(bus, databases=True) as memory:
        bus.emit("order.placed", {"cents": 1}, subject="order-1")
        before = memory.now
        memory.run_until_idle()
        assert memory.emitted.types == [
            "order.placed", "payment.asked", "process.reminded", "payment.refund",
        ]  # fmt: skip
        assert memory.now - before >= timedelta(days=1)


def test_a_step_that_is_rolled_back_emits_nothing(bus: EventBus, tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'shop.sqlite'}", poolclass=NullPool)
    create_processes(engine)

    class Failing(Process[State], inbox=engine):
        @starts("order.placed")
        def placed(self, event: Event) -> None:
            self.emit("payment.asked")
            raise ConnectionError

    bus.process(Failing, retries=0)
    with in_memory(bus, databases=True) as memory:
        bus.emit("order.placed", subject="order-1")
        memory.run_until_idle()
        assert memory.emitted.types == ["order.placed"]


def test_a_database_in_memory_is_refused(bus: EventBus) -> None:
    bus.process(fulfilment(create_engine("sqlite://")))
    refused = pytest.raises(ConfigurationError, match=r"billing\.fulfilment has a SQLite database")
    with in_memory(bus, databases=True) as memory, refused:
        memory.run_until_idle()


def test_a_bus_without_processes_needs_no_database(bus: EventBus) -> None:
    with in_memory(bus, databases=True) as memory:
        bus.emit("order.placed")
        assert memory.run_until_idle().processed == 0
