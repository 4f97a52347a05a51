"""SQLAlchemy engines that are created and connected before a fork."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event, inspect, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import NullPool

from celeriac import EventBus
from celeriac.inbox import create_inbox
from celeriac.inbox.sql import as_inbox
from celeriac.outbox import create_outbox
from celeriac.process import create_processes
from celeriac.sql_engine import protect_from_forks
from tests.unit.test_fork import in_child


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """Return an engine with a pool, as in an application."""
    engine = create_engine(database_url)
    yield engine
    engine.dispose()


def connection_of(engine: Engine) -> object:
    """Return an identity of the connection: that of the server session; for SQLite the object."""
    query = {
        "postgresql": "SELECT pg_backend_pid()",
        "mysql": "SELECT CONNECTION_ID()",
        "mariadb": "SELECT CONNECTION_ID()",
    }.get(engine.dialect.name)
    with engine.connect() as connection:
        if query is None:
            return id(connection.connection.dbapi_connection)
        return connection.execute(text(query)).scalar()


@pytest.mark.parametrize(
    "protect",
    [
        create_inbox,
        create_outbox,
        lambda engine: as_inbox(sessionmaker(engine)),
        lambda engine: as_inbox(engine),
        lambda engine: as_inbox(engine.execution_options(isolation_level="SERIALIZABLE")),
    ],
    ids=["create_inbox", "create_outbox", "sessionmaker", "engine", "engine with options"],
)
def test_a_child_opens_its_own_connection_and_the_parent_keeps_its_own(
    engine: Engine, protect: Callable[[Engine], object]
) -> None:
    protect(engine)
    before, pool = connection_of(engine), engine.pool

    def has_its_own() -> bool:
        # The identity of a SQLite connection is an address, which may be reused.
        is_new = engine.dialect.name == "sqlite" or connection_of(engine) != before
        return is_new and engine.pool is not pool

    assert in_child(has_its_own)
    assert before == connection_of(engine), "open, and usable, after the child has ended"


def test_an_engine_that_only_an_emit_has_shown_is_protected_too(engine: Engine) -> None:
    create_outbox(create_engine(engine.url, poolclass=NullPool))
    with Session(engine) as session:
        EventBus(service="billing").emit("order.placed", 1, session=session)
        session.commit()
    pool = engine.pool
    assert in_child(lambda: engine.pool is not pool)


def test_a_sessionmaker_configured_after_it_was_given_is_protected(engine: Engine) -> None:
    sessions = sessionmaker()
    as_inbox(sessions)
    sessions.configure(bind=engine)
    pool = engine.pool
    assert in_child(lambda: engine.pool is not pool)


def test_the_engine_behind_an_async_one_is_protected(tmp_path: Path) -> None:
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/a.db")
    as_inbox(async_sessionmaker(engine))
    pool = engine.sync_engine.pool
    assert in_child(lambda: engine.sync_engine.pool is not pool)
    assert pool is engine.sync_engine.pool


def test_a_database_in_memory_stays_what_the_child_has_a_copy_of() -> None:
    engine = create_engine("sqlite://")
    create_inbox(engine)
    assert in_child(lambda: inspect(engine).has_table("celeriac_inbox"))
    engine.dispose()


def test_an_engine_that_the_application_drops_is_dropped() -> None:
    engine = create_engine("sqlite://")
    protect_from_forks(engine)
    dropped = weakref.ref(engine)
    del engine
    gc.collect()
    assert dropped() is None


def test_processes_that_start_at_the_same_time_create_the_tables_together(
    database_url: str,
) -> None:
    """Each is what a process does at its start, with connections of its own."""
    barrier = threading.Barrier(8)
    # SQLite lets the processes write in any order; the last may wait long on a loaded machine.
    patience = {"timeout": 60} if database_url.startswith("sqlite") else {}

    def start(_: int) -> None:
        engine = create_engine(database_url, poolclass=NullPool, connect_args=patience)
        with engine.connect():
            barrier.wait(60)
        create_processes(engine)

    with ThreadPoolExecutor(8) as pool:
        assert [None] * 8 == list(pool.map(start, range(8)))
    engine = create_engine(database_url, poolclass=NullPool)
    assert {"celeriac_inbox", "celeriac_outbox"} <= {*inspect(engine).get_table_names()}


def test_a_database_that_cannot_be_reached_is_not_tried_again(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'nowhere' / 'test.sqlite'}")
    tries: list[Any] = []
    event.listen(engine, "do_connect", lambda *given: tries.append(given))
    with pytest.raises(OperationalError, match="unable to open database file"):
        create_processes(engine)
    assert 1 == len(tries)


def test_tables_and_rows_ignore_a_schema_translation(tmp_path: Path) -> None:
    """The relay uses the default schema, independent of the tenant of a session."""
    plain = create_engine(f"sqlite:///{tmp_path}/a.db")
    tenant: Any = plain.execution_options(schema_translate_map={None: "tenant_7"})
    create_outbox(tenant)
    with Session(tenant) as session:
        EventBus(service="billing").emit("order.placed", 1, session=session)
        session.commit()
    with plain.connect() as connection:
        assert 1 == connection.execute(text("SELECT count(*) FROM celeriac_outbox")).scalar()
    assert {None: "tenant_7"} == tenant.get_execution_options()["schema_translate_map"]
    plain.dispose()
