"""The inbox in a database of Django. Needs `celeriac.contrib.django` in INSTALLED_APPS."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from celeriac.django_sql import MIGRATE, atomic, for_django
from celeriac.extra import needing
from celeriac.inbox import statement
from celeriac.inbox.receiver import (
    Argument,
    IdempotentReceiver,
    Key,
    keys_of,
    slices,
    unseen,
)
from celeriac.inbox.session import in_session


class DjangoInbox:
    """Runs each call of a handler in `transaction.atomic(using=…)`.

    Handlers are plain functions, because Django has no transactions for coroutines. They use the
    ORM and take no second parameter.
    """

    is_async = False
    session_kind = ""

    def __init__(self, using: str = "default") -> None:
        with needing("django", "DjangoInbox"):
            import django  # noqa: F401
        self.using = using
        self._prune_schedule = statement.PruneSchedule()

    def __repr__(self) -> str:
        return f"DjangoInbox(using={self.using!r})"

    def receive(self, receiver: IdempotentReceiver, argument: Argument) -> None:
        from django.db import connections

        with atomic(self.using):
            connection = connections[self.using]
            new = mark_processed(connection, receiver.handler, keys_of(argument))
            unprocessed = unseen(argument, new)
            if unprocessed is not None:
                with in_session(connection):
                    receiver.run(unprocessed, connection, using=self.using)
        if self._prune_schedule.due():
            self._prune(receiver.keep_ms())

    def _prune(self, keep_ms: int) -> None:
        from django.db import connections

        try:
            with atomic(self.using):
                if prune(connections[self.using], keep_ms):
                    self._prune_schedule.expedite()
        except Exception as error:
            statement.log_prune_failure(error)


def mark_processed(connection: Any, handler: str, keys: Sequence[Key]) -> list[Key]:
    """Insert the keys as `sql.mark_processed` does, on a connection of Django."""
    from django.db import DatabaseError

    statement.check_dialect(connection.vendor)
    many = statement.returns_rows(connection.vendor)
    new: list[Key] = []
    try:
        with connection.cursor() as cursor:
            for batch in slices(keys, statement.MAX_ROWS if many else 1):
                sql, parameters = statement.insert(connection.vendor, handler, batch)
                cursor.execute(for_django(sql), parameters)
                if many:
                    new += [(str(key), str(domain)) for key, domain in cursor]
                elif cursor.rowcount:
                    new += batch
    except DatabaseError as error:
        explained = statement.explained(error, MIGRATE)
        if explained is error:
            raise
        raise explained from error
    return new


def prune(connection: Any, keep_ms: int) -> bool:
    """Delete old rows as `sql.prune` does, on a connection of Django."""
    limits = statement.before(keep_ms)
    with connection.cursor() as cursor:
        cursor.execute(for_django(statement.PRUNE_UP_TO), limits)
        row = cursor.fetchone()
        up_to = row[0] if row else limits["before"] - 1
        cursor.execute(for_django(statement.PRUNE), {"up_to": up_to})
    return row is not None
