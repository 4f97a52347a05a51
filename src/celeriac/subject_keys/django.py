"""Keys of subjects in a database of Django. Needs `celeriac.contrib.django` in INSTALLED_APPS."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from celeriac.django_sql import MIGRATE, for_django
from celeriac.extra import needing
from celeriac.subject_keys.master_key import MasterKeys
from celeriac.subject_keys.rows import Execute, StatementResult, StoredSubjectKeys

T = TypeVar("T")


class DjangoSubjectKeys(StoredSubjectKeys):
    """Implements SubjectKeys in a database of Django.

    Each call opens a connection of its own and closes it, so that a key is stored although the
    transaction of a request is rolled back.

    Args:
        master_key: As that of SqlSubjectKeys.
        using: The alias of the database.

    Raises:
        ConfigurationError: A master key is invalid, or Django or cryptography is missing.
    """

    def __init__(self, master_key: str | Sequence[str], *, using: str = "default") -> None:
        with needing("django", "DjangoSubjectKeys"):
            import django  # noqa: F401
        super().__init__(DjangoTransactions(using), MasterKeys(master_key, "DjangoSubjectKeys"))


class DjangoTransactions:
    """Implements Transactions with new connections to a database of Django."""

    remedy = MIGRATE

    def __init__(self, using: str) -> None:
        self._using = using

    def run(self, work: Callable[[Execute], T]) -> T:
        from django.db import connections

        connection: Any = connections[self._using].copy()
        try:
            with connection.cursor() as cursor:
                # Until here the connection is not open, and some databases have no autocommit yet.
                connection.set_autocommit(False)
                result = work(_executing(cursor))
                connection.commit()
                return result
        finally:
            connection.close()

    def is_conflict(self, error: Exception) -> bool:
        from django.db import IntegrityError

        return isinstance(error, IntegrityError)


def _executing(cursor: Any) -> Execute:
    def execute(sql: str, parameters: Mapping[str, Any]) -> StatementResult:
        cursor.execute(for_django(sql), dict(parameters))
        if cursor.description:
            return StatementResult(cursor.fetchall(), 0)
        return StatementResult((), cursor.rowcount)

    return execute
