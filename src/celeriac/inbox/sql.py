"""The inbox through SQLAlchemy: what opens the transaction is a sessionmaker or an engine."""

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


def as_inbox(given: Any) -> Inbox:
    """The inbox behind what `@bus.on(..., inbox=...)` was given. Connects to nothing yet.

    Raises SubscriptionError for what opens no transactions.
    """
    if isinstance(given, DjangoInbox):
        return given
    found = _through_sqlalchemy(given)
    if found is None:
        raise SubscriptionError(
            f"inbox={given!r}: give a sessionmaker or an Engine of SQLAlchemy (for coroutines an "
            "async_sessionmaker or an AsyncEngine), or celeriac.inbox.DjangoInbox()"
        )
    return found


def _through_sqlalchemy(given: Any) -> Inbox | None:
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
    """One transaction of `factory.begin()` for each call of the handler."""

    is_async = False
    gives = "session"

    def __init__(self, factory: sessionmaker[Session] | Engine) -> None:
        self._factory = factory
        self._prune_times = statement.PruneSchedule()

    def receive(self, receiver: IdempotentReceiver, argument: Argument) -> None:
        with self._factory.begin() as session:
            noted = note(session, receiver.handler, keys_of(argument))
            left = unseen(argument, noted)
            if left is not None:
                with in_session(session):
                    receiver.run(left, session)
        if self._prune_times.due():
            self._prune(receiver.keep_ms())

    def _prune(self, keep_ms: int) -> None:
        try:
            with self._factory.begin() as session:
                if prune(session, keep_ms):
                    self._prune_times.again_soon()
        except Exception as error:
            statement.not_pruned(error)


def note(session: Session | Connection, handler: str, keys: Sequence[Key]) -> list[Key]:
    """Inserts the keys in the session's transaction; returns the new ones. Blocks while another
    transaction is about to insert one of them."""
    from sqlalchemy import text
    from sqlalchemy.exc import DBAPIError

    dialect = dialect_of(session)
    many = statement.returns_rows(dialect)
    noted: list[Key] = []
    try:
        for some in slices(keys, statement.MOST_ROWS if many else 1):
            sql, parameters = statement.note(dialect, handler, some)
            result: Any = session.execute(text(sql), parameters)
            if many:
                noted += [(str(key), str(domain)) for key, domain in result]
            elif result.rowcount:
                noted += some
    except DBAPIError as error:
        explained = statement.explained(error)
        if explained is error:
            raise
        raise explained from error
    return noted


def prune(session: Session | Connection, keep_ms: int) -> bool:
    """Removes a bounded number of rows that are too old; says whether there are more."""
    from sqlalchemy import text

    limits = statement.before(keep_ms)
    up_to = session.execute(text(statement.PRUNE_UP_TO), limits).scalar()
    session.execute(
        text(statement.PRUNE), {"up_to": limits["before"] - 1 if up_to is None else up_to}
    )
    return up_to is not None


def dialect_of(session: Any) -> str:
    """The name of the database's kind. Raises ConfigurationError for one that is not supported."""
    from sqlalchemy import Connection

    bind = session if isinstance(session, Connection) else session.get_bind()
    # A sessionmaker whose sessions choose their engine themselves shows it here first.
    protect_from_forks(bind)
    statement.check_dialect(bind.dialect.name)
    return str(bind.dialect.name)
