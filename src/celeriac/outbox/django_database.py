"""The database of a relay, through Django; and writing in the transaction that is open there."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from celeriac.django_sql import atomic, for_django
from celeriac.outbox import statement
from celeriac.outbox.database import DJANGO, POLL, POLL_WOKEN, Execute
from celeriac.outbox.lock import file_lock
from celeriac.outbox.notified import Doorbell
from celeriac.transaction import Write

REMEDY = "python manage.py migrate celeriac, with `celeriac.django` in INSTALLED_APPS"


class DjangoDatabase:
    """See Database. The connection is that of Django for this thread, and stays open."""

    def __init__(self, using: str = "default") -> None:
        self.using = using
        self._doorbell: Doorbell | None = None

    @property
    def name(self) -> str:
        return f"{DJANGO}{self.using}"

    @property
    def locks_rows(self) -> bool:
        return self._connection.vendor not in ("postgresql", "sqlite")

    @property
    def poll(self) -> float:
        return POLL_WOKEN if self._doorbell is not None and self._doorbell.works else POLL

    @contextmanager
    def turn(self) -> Iterator[Execute | None]:
        connection = self._connection
        if connection.vendor == "sqlite":
            with file_lock(_file(connection)) as free:
                if not free:
                    yield None
                    return
                with self.ask() as execute:
                    yield execute
            return
        with self.ask() as execute:
            free = True
            if connection.vendor == "postgresql":
                free = bool(execute(statement.LOCK, {})[0][0])
            yield execute if free else None

    @contextmanager
    def ask(self) -> Iterator[Execute]:
        from django.db import DatabaseError, InterfaceError

        connection = self._connection
        try:
            if connection.vendor == "sqlite":
                # Each statement for itself: see SQLDatabase.ask.
                yield _executing(connection)
                return
            self._listen(connection)
            with atomic(self.using):
                yield _executing(connection)
        except (DatabaseError, InterfaceError):
            self.close()
            raise

    def wait(self, seconds: float) -> None:
        if self._doorbell is None:
            time.sleep(seconds)
            return
        try:
            self._doorbell.wait(seconds)
        except Exception:
            self.close()
            raise

    def close(self) -> None:
        self._doorbell = None
        self._connection.close()

    def _listen(self, connection: Any) -> None:
        if connection.vendor != "postgresql" or self._doorbell is not None:
            return
        connection.ensure_connection()
        self._doorbell = Doorbell(connection.connection)
        with connection.cursor() as cursor:
            cursor.execute(statement.LISTEN)

    @property
    def _connection(self) -> Any:
        from django.db import connections

        return connections[self.using]


def writer(connection: Any) -> Write:
    """Writes rows into the outbox, in the transaction that is open on the connection."""

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
            explained = statement.explained(error, REMEDY)
            if explained is error:
                raise
            raise explained from error

    return write


def _executing(connection: Any) -> Execute:
    def execute(sql: str, parameters: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
        from django.db import DatabaseError

        try:
            with connection.cursor() as cursor:
                cursor.execute(for_django(sql), dict(parameters))
                return list(cursor.fetchall()) if cursor.description else []
        except DatabaseError as error:
            explained = statement.explained(error, REMEDY)
            if explained is error:
                raise
            raise explained from error

    return execute


def _file(connection: Any) -> str:
    name = str(connection.settings_dict["NAME"])
    if name == ":memory:" or "mode=memory" in name:
        return ""
    return name.removeprefix("file:").partition("?")[0]
