"""The database of a relay through Django, and writes in Django's open transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from celeriac.django_sql import MIGRATE, atomic, for_django
from celeriac.outbox import statement
from celeriac.outbox.database import DJANGO, Execute
from celeriac.outbox.leader_lock import LeaderLock
from celeriac.outbox.listener import PostgresListener
from celeriac.transaction import Write


class DjangoDatabase(LeaderLock):
    """See Database. Uses Django's connection of this thread."""

    def __init__(self, using: str = "default") -> None:
        self.using = using

    @property
    def name(self) -> str:
        return f"{DJANGO}{self.using}"

    @property
    def kind(self) -> str:
        return str(self._connection.vendor)

    @property
    def sqlite_name(self) -> str:
        return str(self._connection.settings_dict["NAME"])

    @contextmanager
    def transaction(self) -> Iterator[Execute]:
        from django.db import DatabaseError, InterfaceError

        connection = self._connection
        try:
            if connection.vendor == "sqlite":
                # Each statement is its own transaction: see SQLDatabase.transaction.
                yield executing(connection)
                return
            self._listen(connection)
            with atomic(self.using):
                yield executing(connection)
        except (DatabaseError, InterfaceError):
            self.close()
            raise

    def close(self) -> None:
        self._listener = None
        self._connection.close()

    def _listen(self, connection: Any) -> None:
        if connection.vendor != "postgresql" or self._listener is not None:
            return
        connection.ensure_connection()
        self._listener = PostgresListener(connection.connection)
        with connection.cursor() as cursor:
            cursor.execute(statement.LISTEN)

    @property
    def _connection(self) -> Any:
        from django.db import connections

        return connections[self.using]


def writer(connection: Any) -> Write:
    """Return a function that writes rows to the outbox in the connection's open transaction."""

    def write(rows: Sequence[Mapping[str, Any]]) -> None:
        from django.db import DatabaseError

        notifies = connection.vendor == "postgresql"
        try:
            with connection.cursor() as cursor:
                if len(rows) == 1 and notifies:
                    cursor.execute(for_django(statement.INSERT_AND_NOTIFY), rows[0])
                    return
                cursor.executemany(for_django(statement.INSERT), rows)
                if notifies:
                    cursor.execute(statement.NOTIFY)
        except DatabaseError as error:
            explained = statement.explained(error, MIGRATE)
            if explained is error:
                raise
            raise explained from error

    return write


def explain_missing(error: Exception) -> Exception:
    return statement.explained(error, MIGRATE)


def executing(
    connection: Any, explain: Callable[[Exception], Exception] = explain_missing
) -> Execute:
    """Return a function that runs SQL on the connection. `explain` explains its errors."""

    def execute(sql: str, parameters: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
        from django.db import DatabaseError

        try:
            with connection.cursor() as cursor:
                cursor.execute(for_django(sql), dict(parameters))
                return list(cursor.fetchall()) if cursor.description else []
        except DatabaseError as error:
            explained = explain(error)
            if explained is error:
                raise
            raise explained from error

    return execute
