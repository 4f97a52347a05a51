"""Write events to the outbox, in a transaction of the caller."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from celeriac.errors import InvalidEvent
from celeriac.outbox import statement
from celeriac.outbox.table import outbox_table
from celeriac.sql_engine import UNTRANSLATED, protect_from_forks

if TYPE_CHECKING:
    from sqlalchemy import Table

    from celeriac.outbox.session import AnySession

REMEDY = "call celeriac.outbox.create_outbox(engine) once, or add it to a migration"

Values = dict[str, Any]


def row(
    event_id: str,
    domain: str,
    body: bytes,
    delay_ms: int | None = None,
    at_ms: int | None = None,
) -> Values:
    """Return the row of an event. A delay begins now, by this host's clock."""
    now = int(time.time() * 1000)
    return {
        "event_id": event_id,
        "domain": domain,
        "body": body,
        "at_ms": now + delay_ms if delay_ms is not None else at_ms,
        "created_ms": now,
    }


def write(session: AnySession, rows: Sequence[Values]) -> None:
    """Insert the rows in the session's transaction. On PostgreSQL, its commit wakes the relays.

    Blocks. Raises ConfigurationError if the table is missing.
    """
    from sqlalchemy import Connection, func, insert, select
    from sqlalchemy.exc import DBAPIError
    from sqlalchemy.orm import Session, scoped_session

    if isinstance(session, scoped_session):
        session = session()
    if not isinstance(session, (Session, Connection)):
        raise _wrong(session, "emit", "a Session or Connection of SQLAlchemy")
    bind = session.get_bind() if isinstance(session, Session) else session
    protect_from_forks(bind)
    notify = func.pg_notify(statement.CHANNEL, "")
    notifies = bind.dialect.name == "postgresql"
    try:
        if len(rows) == 1 and notifies:
            insertion = insert(_table()).returning(notify)
            session.execute(insertion, rows[0], execution_options=UNTRANSLATED)
            return
        session.execute(insert(_table()), rows, execution_options=UNTRANSLATED)
        if notifies:
            session.execute(select(notify))
    except DBAPIError as error:
        explained = statement.explained(error, REMEDY)
        if explained is error:
            raise
        raise explained from error


async def awrite(session: Any, rows: Sequence[Values]) -> None:
    """Insert the rows as `write` does, in an AsyncSession or AsyncConnection."""
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session

    if isinstance(session, async_scoped_session):
        session = session()
    if not isinstance(session, (AsyncSession, AsyncConnection)):
        raise _wrong(session, "aemit", "an AsyncSession or AsyncConnection of SQLAlchemy")
    await session.run_sync(write, rows)


def _wrong(session: object, method: str, expected: str) -> InvalidEvent:
    kind = type(session).__name__
    other = {"emit": "await bus.aemit(...)", "aemit": "bus.emit(...)"}[method]
    remedy = f". Use {other} with it" if kind.startswith("Async") == (method == "emit") else ""
    return InvalidEvent(f"{method} got session={kind}: must be {expected}{remedy}")


@cache
def _table() -> Table:
    from sqlalchemy import MetaData

    return outbox_table(MetaData())
