"""SQLAlchemy engines of the application: protection from forks, and table creation."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from celeriac.fork import after_fork_in_child, leave_to_parent

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, MetaData

# The relay and the inbox use unqualified table names, without the tenants of schema_translate_map.
UNTRANSLATED = {"schema_translate_map": None}
# Two transactions of PostgreSQL that create the same table at the same time collide.
LOCK_TABLES = "SELECT pg_advisory_xact_lock(hashtext('celeriac.create_all'))"

# Weak, so that an engine or sessionmaker that the application drops is collected.
_engines: WeakSet[Any] = WeakSet()
_factories: WeakSet[Any] = WeakSet()


def protect_from_forks(given: Any) -> None:
    """Give each forked child its own connection pool; the parent keeps its connections.

    Takes an Engine, AsyncEngine, Connection, sessionmaker or async_sessionmaker. A sessionmaker's
    engines are read at the time of the fork. Does not connect; idempotent.
    """
    if hasattr(given, "kw"):
        _factories.add(given)
    for engine in engines_of(given):
        if engine not in _engines and not _in_memory(engine):
            _engines.add(engine)
            _refuse_inherited(engine)


def create_all(metadata: MetaData, bind: Engine | Connection) -> None:
    """Create the missing tables in the default schema. Blocks; idempotent.

    Several processes may call it at the same time; with a Connection, on PostgreSQL only.
    """
    from sqlalchemy import Engine, text
    from sqlalchemy.exc import DBAPIError

    protect_from_forks(bind)
    if isinstance(bind, Engine):
        # Each table may be created by another process after it was found missing.
        for _ in metadata.tables:
            try:
                return _create_with_engine(metadata, bind)
            except DBAPIError as error:
                if error.statement is None:  # it could not connect
                    raise
        return _create_with_engine(metadata, bind)
    if bind.dialect.name == "postgresql":
        bind.execute(text(LOCK_TABLES))
    # Restored below, because execution_options changes the caller's connection in place.
    translated = bind.get_execution_options().get("schema_translate_map")
    bind.execution_options(**UNTRANSLATED)
    try:
        metadata.create_all(bind)
    finally:
        bind.execution_options(schema_translate_map=translated)


def _create_with_engine(metadata: MetaData, engine: Engine) -> None:
    with engine.begin() as connection:
        create_all(metadata, connection)


def engines_of(given: Any) -> Iterator[Any]:
    """Yield the plain engines of an engine, connection or sessionmaker."""
    if hasattr(given, "kw"):  # a sessionmaker
        binds = (given.kw.get("bind"), *(given.kw.get("binds") or {}).values())
        for bind in binds:
            yield from engines_of(bind)
        return
    engine = getattr(given, "sync_engine", given)
    engine = getattr(engine, "engine", engine)
    # `engine.execution_options()` returns a proxy that shares the pool.
    while hasattr(engine, "_proxied"):
        engine = engine._proxied
    if hasattr(engine, "dispose"):
        yield engine


def _refuse_inherited(engine: Any) -> None:
    """Replace a parent's connection at checkout, for forks that Python does not notice."""
    from sqlalchemy import event
    from sqlalchemy.exc import DisconnectionError

    # Connections older than this listener have no record of their process.
    default_pid = os.getpid()

    def connected(_: Any, record: Any) -> None:
        record.info["celeriac.process"] = os.getpid()

    def checked_out(connection: Any, record: Any, proxy: Any) -> None:
        owner = record.info.get("celeriac.process", default_pid)
        if owner == os.getpid():
            return
        leave_to_parent(connection)
        record.dbapi_connection = proxy.dbapi_connection = None
        raise DisconnectionError(f"process {owner} opened this connection before a fork")

    event.listen(engine, "connect", connected)
    event.listen(engine, "checkout", checked_out)


def _in_child() -> None:
    for factory in list(_factories):
        protect_from_forks(factory)
    for engine in list(_engines):
        # The pool has the locks and counts of the time of the fork, and the parent's connections.
        leave_to_parent(engine.pool)
        engine.dispose(close=False)


def _in_memory(engine: Any) -> bool:
    """Return whether the database is SQLite in memory, which a fork copies to the child."""
    if engine.dialect.name != "sqlite" or engine.dialect.is_async:
        return False
    database = engine.url.database or ":memory:"
    return database == ":memory:" or "mode=memory" in f"{database}{engine.url.query}"


after_fork_in_child(_in_child)
