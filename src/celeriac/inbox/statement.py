"""The SQL of the inbox, the same for SQLAlchemy and Django. Parameters are written `:name`."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

from celeriac import missing_table
from celeriac.errors import ConfigurationError
from celeriac.inbox.receiver import Key

logger = logging.getLogger(__name__)

TABLE = "celeriac_inbox"
DIALECTS = ("postgresql", "sqlite", "mysql", "mariadb")
# Rows of one statement: SQLite allows 32,766 parameters, and each row takes two.
MAX_ROWS = 500
PRUNE_EVERY, PRUNE_AGAIN, PRUNE_ROWS = 60.0, 1.0, 5000

# PRUNE may delete more than :max_rows rows, if they are of the same millisecond.
PRUNE_UP_TO = (
    f"SELECT at_ms FROM {TABLE} WHERE at_ms < :before ORDER BY at_ms LIMIT 1 OFFSET :max_rows"
)
PRUNE = f"DELETE FROM {TABLE} WHERE at_ms <= :up_to"

Statement = tuple[str, dict[str, Any]]


def returns_rows(dialect: str) -> bool:
    """Return whether one statement can insert many keys and return the new ones."""
    return dialect in ("postgresql", "sqlite")


def insert(dialect: str, handler: str, keys: Sequence[Key]) -> Statement:
    """Return the statement that inserts the missing keys.

    The database waits while another transaction inserts one of them. PostgreSQL and SQLite return
    (event_key, domain) of the new rows. For other databases, give one key and check the row count.
    """
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
    """Raise ConfigurationError for an unsupported database."""
    if dialect not in DIALECTS:
        raise ConfigurationError(
            f"the inbox does not support {dialect}. Use one of {', '.join(DIALECTS)}"
        )


def explained(error: Exception, remedy: str) -> Exception:
    """Return a ConfigurationError with the remedy if the table is missing, else the error."""
    return missing_table.explained(error, (TABLE,), remedy, "inbox.md")


class PruneSchedule:
    """When to prune next: every PRUNE_EVERY seconds, or sooner while old rows remain."""

    def __init__(self) -> None:
        self._at = 0.0

    def due(self) -> bool:
        """Return whether to prune now; then the next time is PRUNE_EVERY seconds later."""
        now = time.monotonic()
        if now < self._at:
            return False
        self._at = now + PRUNE_EVERY
        return True

    def expedite(self) -> None:
        """Prune again after PRUNE_AGAIN seconds."""
        self._at = time.monotonic() + PRUNE_AGAIN


def before(keep_ms: int) -> dict[str, int]:
    """Return the parameters of PRUNE_UP_TO for rows older than `keep_ms`."""
    return {"before": int(time.time() * 1000) - keep_ms, "max_rows": PRUNE_ROWS}


def log_prune_failure(error: Exception) -> None:
    """Log that old rows were not deleted, which is harmless."""
    logger.warning("celeriac: old rows of %s were not deleted: %s", TABLE, error)
