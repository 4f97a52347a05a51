"""The inbox in a database of Django. Needs `celeriac.contrib.django` in INSTALLED_APPS."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from celeriac.django_sql import atomic, for_django
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
    gives = ""

    def __init__(self, using: str = "default") -> None:
        with needing("django", "DjangoInbox"):
            import django  # noqa: F401
        self.using = using
        self._prune_times = statement.PruneSchedule()

    def __repr__(self) -> str:
        return f"DjangoInbox(using={self.using!r})"

    def receive(self, receiver: IdempotentReceiver, argument: Argument) -> None:
        from django.db import connections

        with atomic(self.using):
            connection = connections[self.using]
            noted = note(connection, receiver.handler, keys_of(argument))
            left = unseen(argument, noted)
            if left is not None:
                with in_session(connection):
                    receiver.run(left, connection)
        if self._prune_times.due():
            self._prune(receiver.keep_ms())

    def _prune(self, keep_ms: int) -> None:
        from django.db import connections

        try:
            with atomic(self.using):
                if prune(connections[self.using], keep_ms):
                    self._prune_times.again_soon()
        except Exception as error:
            statement.not_pruned(error)


def note(connection: Any, handler: str, keys: Sequence[Key]) -> list[Key]:
    """As the function of this name for SQLAlchemy, on a connection of Django."""
    from django.db import DatabaseError

    statement.check_dialect(connection.vendor)
    many = statement.returns_rows(connection.vendor)
    noted: list[Key] = []
    try:
        with connection.cursor() as cursor:
            for some in slices(keys, statement.MOST_ROWS if many else 1):
                sql, parameters = statement.note(connection.vendor, handler, some)
                cursor.execute(for_django(sql), parameters)
                if many:
                    noted += [(str(key), str(domain)) for key, domain in cursor]
                elif cursor.rowcount:
                    noted += some
    except DatabaseError as error:
        explained = statement.explained(error)
        if explained is error:
            raise
        raise explained from error
    return noted


def prune(connection: Any, keep_ms: int) -> bool:
    """As the function of this name for SQLAlchemy, on a connection of Django."""
    limits = statement.before(keep_ms)
    with connection.cursor() as cursor:
        cursor.execute(for_django(statement.PRUNE_UP_TO), limits)
        found = cursor.fetchone()
        up_to = found[0] if found else limits["before"] - 1
        cursor.execute(for_django(statement.PRUNE), {"up_to": up_to})
    return found is not None
