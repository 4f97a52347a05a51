"""Instances in a database of Django."""

from __future__ import annotations

from typing import Any

from celeriac.django_sql import MIGRATE
from celeriac.outbox.django_database import executing, writer
from celeriac.process import statement
from celeriac.process.rows import RowStore


def django_store(connection: Any) -> RowStore:
    """Return the store in the connection's open transaction. Raises ConfigurationError."""

    def explained(error: Exception) -> Exception:
        return statement.explained(error, MIGRATE)

    return RowStore(executing(connection, explained), connection.vendor, writer(connection))
