"""The database of a relay: its protocol, and how a URL selects it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from celeriac.extra import needing

DJANGO = "django:"
POLL, POLL_WOKEN = 0.25, 1.0

# Runs one statement and returns its rows, if any.
Execute = Callable[[str, Mapping[str, Any]], Sequence[Sequence[Any]]]


class Database(Protocol):
    """One connection of a relay. Used by one thread; every call blocks.

    Database errors are raised as the driver raises them. The next call then opens a new connection.
    """

    @property
    def name(self) -> str:
        """The address without the password, for messages."""
        ...

    @property
    def kind(self) -> str:
        """postgresql, mysql (also for MariaDB), sqlite, or an unsupported kind."""
        ...

    @property
    def poll(self) -> float:
        """Seconds to wait between passes: longer if commits wake the relay."""
        ...

    def as_leader(self) -> AbstractContextManager[Execute | None]:
        """Hold the leader lock in a transaction; enters with None while another relay holds it.

        The transaction is committed unless the `with` block raises.
        """
        ...

    def transaction(self) -> AbstractContextManager[Execute]:
        """Open a transaction without the leader lock, for status queries and failed rows."""
        ...

    def wait(self, seconds: float) -> None:
        """Wait until a transaction with events is committed, at most this many seconds."""
        ...

    def close(self) -> None:
        """Close the connection. Idempotent."""
        ...


def open_database(url: str) -> Database:
    """Return the database of a URL: `django:ALIAS`, or a URL of SQLAlchemy. Does not connect.

    Raises ConfigurationError for an invalid URL or a missing package.
    """
    if url.startswith(DJANGO):
        with needing("django", f"CELERIAC_OUTBOX_URL={url}"):
            import django  # noqa: F401

        from celeriac.outbox.django_database import DjangoDatabase

        return DjangoDatabase(url.removeprefix(DJANGO) or "default")
    # A service with Django only uses django:default.
    with needing("sqlalchemy", "CELERIAC_OUTBOX_URL other than django:ALIAS"):
        from celeriac.outbox.sql_database import SQLDatabase
    return SQLDatabase(url)
