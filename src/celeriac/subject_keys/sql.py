"""Keys of subjects in a database of the service, through SQLAlchemy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from celeriac.extra import needing
from celeriac.sql_engine import protect_from_forks
from celeriac.subject_keys.master_key import MasterKeys
from celeriac.subject_keys.rows import Execute, StatementResult, StoredSubjectKeys, Transactions

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

T = TypeVar("T")


class SqlSubjectKeys(StoredSubjectKeys):
    """Implements SubjectKeys in the table of `create_subject_keys`, each call in a transaction.

    Args:
        engine: An Engine or AsyncEngine of SQLAlchemy. Not connected until the first use. Of an
            AsyncEngine only the settings are used: calls block, in connections of their own.
        master_key: 32 bytes in base64url, which wrap every key. With several, the first one wraps
            new keys, and the others are tried to unwrap: see `rewrap`.

    Raises:
        ConfigurationError: A master key is invalid, or SQLAlchemy or cryptography is missing.
    """

    def __init__(self, engine: Engine | AsyncEngine, master_key: str | Sequence[str]) -> None:
        with needing("sqlalchemy", "SqlSubjectKeys"):
            import sqlalchemy  # noqa: F401
        master_keys = MasterKeys(master_key, "SqlSubjectKeys")
        super().__init__(_transactions_of(engine), master_keys)


class SqlTransactions:
    """Implements Transactions with an Engine."""

    remedy = "call celeriac.subject_keys.create_subject_keys(engine) once, or add it to a migration"

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        protect_from_forks(engine)

    def run(self, work: Callable[[Execute], T]) -> T:
        with self._engine.begin() as connection:
            return work(executing(connection))

    def is_conflict(self, error: Exception) -> bool:
        from sqlalchemy.exc import IntegrityError

        return isinstance(error, IntegrityError)


def _transactions_of(engine: Any) -> Transactions:
    if not hasattr(engine, "sync_engine"):
        return SqlTransactions(engine)
    from celeriac.subject_keys.sql_async import AsyncSqlTransactions

    return AsyncSqlTransactions(engine)


def executing(connection: Connection) -> Execute:
    """Return the function that executes a statement on the connection."""
    from sqlalchemy import text

    def execute(sql: str, parameters: Mapping[str, Any]) -> StatementResult:
        result: Any = connection.execute(text(sql), dict(parameters))
        if result.returns_rows:
            return StatementResult(result.all(), 0)
        return StatementResult((), result.rowcount)

    return execute
