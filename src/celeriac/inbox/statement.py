"""The SQL of the inbox, the same for SQLAlchemy and Django. Parameters are written `:name`."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

from celeriac.errors import ConfigurationError
from celeriac.inbox.receiver import Key

logger = logging.getLogger(__name__)

TABLE = "celeriac_inbox"
DIALECTS = ("postgresql", "sqlite", "mysql", "mariadb")
# Rows of one statement: SQLite takes 32,766 parameters, two of them go with each row.
MOST_ROWS = 500
PRUNE_EVERY, PRUNE_AGAIN, PRUNE_ROWS = 60.0, 1.0, 5000

# What comes after the first `before` may go too, if it is of the same millisecond.
PRUNE_UP_TO = f"SELECT at_ms FROM {TABLE} WHERE at_ms < :before ORDER BY at_ms LIMIT 1 OFFSET :most"
PRUNE = f"DELETE FROM {TABLE} WHERE at_ms <= :up_to"

Statement = tuple[str, dict[str, Any]]


def returns_rows(dialect: str) -> bool:
    """Whether one statement can note many events and say which of them were new."""
    return dialect in ("postgresql", "sqlite")


def note(dialect: str, handler: str, keys: Sequence[Key]) -> Statement:
    """Inserts the keys that are not there. Where another transaction is about to insert one of
    them, the database waits for its end. PostgreSQL and SQLite return (event_key, domain) of the
    new ones; for others give one key, and look at the number of rows."""
    parameters: dict[str, Any] = {"handler": handler, "at_ms": int(time.time() * 1000)}
    values = []
    for number, (event_key, domain) in enumerate(keys):
        parameters[f"e{number}"], parameters[f"d{number}"] = event_key, domain
        values.append(f"(:e{number}, :d{number}, :handler, :at_ms)")
    columns = f"{TABLE} (event_key, domain, handler, at_ms) VALUES {', '.join(values)}"
    if returns_rows(dialect):
        ending = "ON CONFLICT DO NOTHING RETURNING event_key, domain"
        return f"INSERT INTO {columns} {ending}", parameters
    return f"INSERT IGNORE INTO {columns}", parameters


def check_dialect(dialect: str) -> None:
    """Raises ConfigurationError for a database that the inbox cannot ask for what is new."""
    if dialect not in DIALECTS:
        raise ConfigurationError(
            f"inbox: {dialect} is not supported; there are {', '.join(DIALECTS)}"
        )


def explained(error: Exception) -> Exception:
    """Where the table is missing, what to do about it; else the error as it is."""
    said = str(error).lower()
    if TABLE in said and any(word in said for word in ("no such table", "exist")):
        return ConfigurationError(
            f"the inbox has no table {TABLE}: call celeriac.inbox.create_inbox(engine) once, or "
            "let a migration make it (docs/how-to/inbox.md)"
        )
    return error


class PruneSchedule:
    """When it is time to prune again: now and then, and soon where there was more than a step."""

    def __init__(self) -> None:
        self._at = 0.0

    def due(self) -> bool:
        now = time.monotonic()
        if now < self._at:
            return False
        self._at = now + PRUNE_EVERY
        return True

    def again_soon(self) -> None:
        self._at = time.monotonic() + PRUNE_AGAIN


def before(keep_ms: int) -> dict[str, int]:
    """The parameters of PRUNE_UP_TO for rows that are older than `keep_ms`."""
    return {"before": int(time.time() * 1000) - keep_ms, "most": PRUNE_ROWS}


def not_pruned(error: Exception) -> None:
    """A row that stays longer does no harm."""
    logger.warning("celeriac: old rows of %s were not removed: %s", TABLE, error)
