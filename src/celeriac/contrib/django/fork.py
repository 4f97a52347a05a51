"""Django's connections in forked children.

Django opens a connection at the first query of a thread and continues to use it after a fork, for
example if an app queries in `ready()` and gunicorn preloads the site (observed with Django 5.2 and
6.1). Celery prevents this only in its pool processes.
"""

from __future__ import annotations

from typing import Any

from celeriac.fork import leave_to_parent


def leave_connections() -> None:
    """Make this process open its own connections. The parent keeps its connections."""
    from django.db import connections

    for connection in connections.all(initialized_only=True):
        if connection.vendor == "sqlite" and connection.is_in_memory_db():
            continue
        _leave_pool(connection)
        if connection.connection is not None:
            leave_to_parent(connection.connection)
            # The next query connects; Django then forgets the transaction that was open.
            connection.connection = None


def _leave_pool(connection: Any) -> None:
    """Drop the psycopg pool that Django 5.1 or later has for each PostgreSQL alias.

    Django has no public API to drop a pool without closing its connections.
    """
    pools: dict[str, Any] = getattr(connection, "_connection_pools", {})
    pool = pools.pop(connection.alias, None)
    if pool is not None:
        leave_to_parent(pool)
