"""What a relay needs of a database; which kind of it a URL names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from celeriac.extra import needing

DJANGO = "django:"
POLL, POLL_WOKEN = 0.25, 1.0

# Runs one statement; returns its rows, none where it has none.
Execute = Callable[[str, Mapping[str, Any]], Sequence[Sequence[Any]]]


class Database(Protocol):
    """One connection of a relay. Used by one thread; every call blocks.

    Faults of the database are raised as its driver raises them. After one, the next call connects
    anew.
    """

    @property
    def name(self) -> str:
        """The address, without the password."""
        ...

    @property
    def poll(self) -> float:
        """How long to wait between turns, in seconds: longer where commits wake the relay."""
        ...

    def turn(self) -> AbstractContextManager[Execute | None]:
        """The right to publish, or None while another relay has it. What runs inside is committed
        when it is left without an exception."""
        ...

    def ask(self) -> AbstractContextManager[Execute]:
        """A transaction without that right: for looking, and for what is failed."""
        ...

    def wait(self, seconds: float) -> None:
        """Returns when a transaction with events was committed, or after so many seconds."""
        ...

    def close(self) -> None:
        """Lets the connection go. Idempotent."""
        ...


def open_database(url: str) -> Database:
    """Connects to nothing yet. `django:ALIAS` is a database of Django, any other URL is for
    SQLAlchemy. Raises ConfigurationError for a URL that is neither, or lacks a package."""
    if url.startswith(DJANGO):
        with needing("django", f"CELERIAC_OUTBOX_URL={url}"):
            import django  # noqa: F401

        from celeriac.outbox.django_database import DjangoDatabase

        return DjangoDatabase(url.removeprefix(DJANGO) or "default")
    # A service that has Django alone names its database django:default.
    with needing("sqlalchemy", "CELERIAC_OUTBOX_URL other than django:ALIAS"):
        from celeriac.outbox.sql_database import SQLDatabase
    return SQLDatabase(url)
