"""A process on each store: in memory, and in SQLite, PostgreSQL and MariaDB with moved timers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.pool import NullPool

from celeriac import EventBus
from celeriac.outbox.database import Database, open_database
from celeriac.process import Process, create_processes
from celeriac.process.query import InstanceHistory, history
from celeriac.testing import MemoryBus, in_memory
from tests.declared_contracts import no_contracts


@pytest.fixture(autouse=True)
def own_contracts() -> Iterator[None]:
    with no_contracts():
        yield


class Bench:
    """A bus in memory whose processes are in one kind of store."""

    def __init__(self, bus: EventBus, memory: MemoryBus, database: Database | None) -> None:
        self.bus, self.memory, self.database = bus, memory, database

    def run(self, *, jump: bool = True, shuffle: int | None = None) -> None:
        """Run handlers until nothing is left; timers expire as far as the clock goes."""
        self.memory.run_until_idle(jump=jump, shuffle=shuffle)

    def relay(self) -> None:
        """Move expired timers to the event log, and run nothing."""
        self.memory._expire_timers()

    def history(self, process: type[Process[Any]], key: str) -> InstanceHistory | None:
        """Return the instance and its steps."""
        assert process.definition is not None
        handler = f"billing.{process.definition.name}"
        if self.database is not None:
            return history(self.database, handler, key)
        processes = self.memory.processes
        instance = processes.instances.get((handler, key))
        if instance is None:
            return None
        return InstanceHistory(instance, tuple(processes.steps[handler, key]))


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    # One of several threads may wait long for its turn to write to SQLite, on a loaded machine.
    patience = {"timeout": 60} if database_url.startswith("sqlite") else {}
    engine = create_engine(database_url, poolclass=NullPool, connect_args=patience)
    create_processes(engine)
    yield engine
    engine.dispose()


@contextmanager
def bench_on(bus: EventBus, database: Database | None) -> Iterator[Bench]:
    """Enter a bench; without a database, its processes are in memory."""
    with in_memory(bus, databases=database is not None) as memory:
        yield Bench(bus, memory, database)
    if database is not None:
        database.close()


@pytest.fixture(params=["memory", "sqlite", "postgresql", "mysql"])
def stored(request: pytest.FixtureRequest) -> tuple[Engine, str | None]:
    """The engine of a process's inbox, and the address of its database; None if in memory."""
    if request.param == "memory":
        return create_engine("sqlite:////nonexistent/no.sqlite"), None
    if request.param == "sqlite":
        url = f"sqlite:///{request.getfixturevalue('tmp_path') / 'test.sqlite'}"
    else:
        fixture = "postgres_url" if request.param == "postgresql" else "mysql_url"
        url = str(request.getfixturevalue(fixture))
        url = url.replace("postgresql://", "postgresql+psycopg://")
    engine = create_engine(url, poolclass=NullPool)
    create_processes(engine)
    return engine, url


@pytest.fixture
def bench(bus: EventBus, stored: tuple[Engine, str | None]) -> Iterator[Bench]:
    database = stored[1] and open_database(stored[1])
    with bench_on(bus, database or None) as bench:
        yield bench


def table(engine: Engine, columns: str, name: str) -> list[tuple[Any, ...]]:
    """Return the columns of all rows of a table."""
    with engine.begin() as connection:
        return [tuple(row) for row in connection.execute(text(f"SELECT {columns} FROM {name}"))]
