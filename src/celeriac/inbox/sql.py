"""The inbox through SQLAlchemy, in transactions of a sessionmaker or an engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from celeriac.errors import SubscriptionError
from celeriac.inbox import statement
from celeriac.inbox.django import DjangoInbox
from celeriac.inbox.receiver import (
    Argument,
    IdempotentReceiver,
    Inbox,
    Key,
    keys_of,
    slices,
    unseen,
)
from celeriac.inbox.session import in_session
from celeriac.sql_engine import protect_from_forks

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from sqlalchemy.orm import Session, sessionmaker

REMEDY = "call celeriac.inbox.create_inbox(engine) once, or add it to a migration"


def as_inbox(given: Any) -> Inbox:
    """Return the inbox for the option `inbox=` of `bus.on`. Does not connect.

    Raises SubscriptionError for an object of another kind.
    """
    if isinstance(given, DjangoInbox):
        return given
    inbox = _sqlalchemy_inbox(given)
    if inbox is None:
        raise SubscriptionError(
            f"inbox={given!r}: must be a sessionmaker or an Engine of SQLAlchemy (for coroutines "
            "an async_sessionmaker or an AsyncEngine), or celeriac.inbox.DjangoInbox()"
        )
    return inbox


def _sqlalchemy_inbox(given: Any) -> Inbox | None:
    try:
        from sqlalchemy import Engine
        from sqlalchemy.orm import sessionmaker
    except ImportError:
        return None
    if isinstance(given, (sessionmaker, Engine)):
        protect_from_forks(given)
        return SQLInbox(given)
    try:
        from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker
    except ImportError:
        return None
    if isinstance(given, (async_sessionmaker, AsyncEngine)):
        from celeriac.inbox.sql_async import AsyncSQLInbox

        protect_from_forks(given)
        return AsyncSQLInbox(given)
    return None


class SQLInbox:
    """Runs each call of the handler in a transaction of `factory.begin()`."""

    is_async = False
    session_kind = "session"

    def __init__(self, factory: sessionmaker[Session] | Engine) -> None:
        self._factory = factory
        self._prune_schedule = statement.PruneSchedule()

    def receive(self, receiver: IdempotentReceiver, argument: Argument) -> None:
        with self._factory.begin() as session:
            new = mark_processed(session, receiver.handler, keys_of(argument))
            unprocessed = unseen(argument, new)
            if unprocessed is not None:
                with in_session(session):
                    receiver.run(unprocessed, session)
        if self._prune_schedule.due():
            self._prune(receiver.keep_ms())

    def _prune(self, keep_ms: int) -> None:
        try:
            with self._factory.begin() as session:
                if prune(session, keep_ms):
                    self._prune_schedule.expedite()
        except Exception as error:
            statement.log_prune_failure(error)


def mark_processed(session: Session | Connection, handler: str, keys: Sequence[Key]) -> list[Key]:
    """Insert the keys in the session's transaction; return the new ones.

    Blocks while another transaction inserts one of them.
    """
    from sqlalchemy import text
    from sqlalchemy.exc import DBAPIError

    dialect = dialect_of(session)
    many = statement.returns_rows(dialect)
    new: list[Key] = []
    try:
        for batch in slices(keys, statement.MAX_ROWS if many else 1):
            sql, parameters = statement.insert(dialect, handler, batch)
            result: Any = session.execute(text(sql), parameters)
            if many:
                new += [(str(key), str(domain)) for key, domain in result]
            elif result.rowcount:
                new += batch
    except DBAPIError as error:
        explained = statement.explained(error, REMEDY)
        if explained is error:
            raise
        raise explained from error
    return new


def prune(session: Session | Connection, keep_ms: int) -> bool:
    """Delete a bounded number of old rows; return whether there are more. Blocks."""
    from sqlalchemy import text

    limits = statement.before(keep_ms)
    up_to = session.execute(text(statement.PRUNE_UP_TO), limits).scalar()
    session.execute(
        text(statement.PRUNE), {"up_to": limits["before"] - 1 if up_to is None else up_to}
    )
    return up_to is not None


def dialect_of(session: Any) -> str:
    """Return the dialect of the session. Raises ConfigurationError for an unsupported one."""
    from sqlalchemy import Connection

    bind = session if isinstance(session, Connection) else session.get_bind()
    # Sessions that choose their engine themselves reveal it only here.
    protect_from_forks(bind)
    statement.check_dialect(bind.dialect.name)
    return str(bind.dialect.name)
