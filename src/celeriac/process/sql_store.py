"""Instances in a database, through a session or connection of SQLAlchemy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from celeriac.inbox.sql import dialect_of
from celeriac.outbox.write import write
from celeriac.process import statement
from celeriac.process.rows import RowStore
from celeriac.sql_engine import UNTRANSLATED

if TYPE_CHECKING:
    from sqlalchemy import Connection, TextClause
    from sqlalchemy.orm import Session

REMEDY = "call celeriac.process.create_processes(engine) once, or add it to a migration"


def sql_store(session: Session | Connection) -> RowStore:
    """Return the store in the session's transaction. Raises ConfigurationError."""
    dialect = dialect_of(session)
    return RowStore(partial(_execute, session), dialect, partial(write, session))


def _execute(
    session: Session | Connection, sql: str, parameters: Mapping[str, Any]
) -> Sequence[Sequence[Any]]:
    from sqlalchemy.exc import DBAPIError

    try:
        result: Any = session.execute(_text(sql), dict(parameters), execution_options=UNTRANSLATED)
    except DBAPIError as error:
        explained = statement.explained(error, REMEDY)
        if explained is error:
            raise
        raise explained from error
    return list(result) if result.returns_rows else ()


@lru_cache(maxsize=64)
def _text(sql: str) -> TextClause:
    from sqlalchemy import text

    return text(sql)
