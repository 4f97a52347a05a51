"""What is done to the engines of SQLAlchemy that a service was given: forks, and tables."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from celeriac.fork import after_fork_in_child, leave_to_parent

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, MetaData

# The relay and the inbox's own statements know no tenants: they look where unqualified names lead.
UNTRANSLATED = {"schema_translate_map": None}

# Weak: an engine or a sessionmaker that the application drops is dropped.
_engines: WeakSet[Any] = WeakSet()
_factories: WeakSet[Any] = WeakSet()


def protect_from_forks(given: Any) -> None:
    """Give each forked child a connection pool of its own; the parent keeps its connections.

    Takes an Engine, AsyncEngine, Connection, sessionmaker or async_sessionmaker. Of a sessionmaker
    the engines count that it has at the time of the fork. Connects to nothing; idempotent.
    """
    if hasattr(given, "kw"):
        _factories.add(given)
    for engine in _engines_of(given):
        if engine not in _engines and not _in_memory(engine):
            _engines.add(engine)
            _refuse_inherited(engine)


def create_all(metadata: MetaData, bind: Engine | Connection) -> None:
    """Create the missing tables where unqualified names lead. Blocks; idempotent."""
    from sqlalchemy import Engine

    protect_from_forks(bind)
    if isinstance(bind, Engine):
        with bind.begin() as connection:
            create_all(metadata, connection)
        return
    # A connection's options are changed in place, and it is the caller's.
    translated = bind.get_execution_options().get("schema_translate_map")
    bind.execution_options(**UNTRANSLATED)
    try:
        metadata.create_all(bind)
    finally:
        bind.execution_options(schema_translate_map=translated)


def _engines_of(given: Any) -> Iterator[Any]:
    """The engines of an application's object, without options and without asyncio around them."""
    if hasattr(given, "kw"):  # a sessionmaker
        binds = (given.kw.get("bind"), *(given.kw.get("binds") or {}).values())
        for bind in binds:
            yield from _engines_of(bind)
        return
    engine = getattr(given, "sync_engine", given)
    engine = getattr(engine, "engine", engine)
    # `engine.execution_options()` makes another face of the same pool.
    while hasattr(engine, "_proxied"):
        engine = engine._proxied
    if hasattr(engine, "dispose"):
        yield engine


def _refuse_inherited(engine: Any) -> None:
    """For forks that Python does not see: connect anew where a pool hands out a parent's."""
    from sqlalchemy import event
    from sqlalchemy.exc import DisconnectionError

    # Of connections older than this listener it is not known which process made them.
    oldest = os.getpid()

    def connected(_: Any, record: Any) -> None:
        record.info["celeriac.process"] = os.getpid()

    def checked_out(connection: Any, record: Any, proxy: Any) -> None:
        maker = record.info.get("celeriac.process", oldest)
        if maker == os.getpid():
            return
        leave_to_parent(connection)
        record.dbapi_connection = proxy.dbapi_connection = None
        raise DisconnectionError(f"process {maker} made this connection before a fork")

    event.listen(engine, "connect", connected)
    event.listen(engine, "checkout", checked_out)


def _in_child() -> None:
    for factory in list(_factories):
        protect_from_forks(factory)
    for engine in list(_engines):
        # Its locks and counts are those of the fork's moment, its connections the parent's.
        leave_to_parent(engine.pool)
        engine.dispose(close=False)


def _in_memory(engine: Any) -> bool:
    """Whether the database lies in the memory that the child has a copy of, without a thread."""
    if engine.dialect.name != "sqlite" or engine.dialect.is_async:
        return False
    database = engine.url.database or ":memory:"
    return database == ":memory:" or "mode=memory" in f"{database}{engine.url.query}"


after_fork_in_child(_in_child)
