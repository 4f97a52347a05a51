"""Errors of a database that lacks a table of celeriac."""

from __future__ import annotations

from collections.abc import Iterable

from celeriac.errors import ConfigurationError

# The words of SQLite, PostgreSQL and MySQL. A duplicate key "already exists".
_MISSING = ("no such table", "does not exist", "doesn't exist")


def explained(error: Exception, tables: Iterable[str], remedy: str, page: str) -> Exception:
    """Return a ConfigurationError with the remedy if one of the tables is missing, else the error.

    `page` is that of docs/how-to which describes the tables.
    """
    message = str(error).lower()
    # The longest name first: one may begin with another.
    missing = next((t for t in sorted(tables, key=len, reverse=True) if t in message), None)
    if missing and any(words in message for words in _MISSING):
        return ConfigurationError(
            f"the table {missing} is missing. Create it: {remedy} (docs/how-to/{page})"
        )
    return error
