"""The transaction that an emit joins by itself."""

from __future__ import annotations

from celeriac.outbox.django_database import writer
from celeriac.transaction import Write


def find(using: str | None) -> Write | None:
    """What writes in the transaction that this thread has open on the database; None without one.

    A database that was not used yet has none, and is not connected to here.
    """
    from django.db import DEFAULT_DB_ALIAS, connections

    connection = connections[using or DEFAULT_DB_ALIAS]
    return writer(connection) if connection.in_atomic_block else None
