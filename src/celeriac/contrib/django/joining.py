"""The hook by which an emit joins Django's open transaction."""

from __future__ import annotations

from celeriac.outbox.django_database import writer
from celeriac.transaction import Write


def find(using: str | None) -> Write | None:
    """Return a function that writes in this thread's open transaction; None if none is open.

    Does not connect to the database.
    """
    from django.db import DEFAULT_DB_ALIAS, connections

    connection = connections[using or DEFAULT_DB_ALIAS]
    return writer(connection) if connection.in_atomic_block else None
