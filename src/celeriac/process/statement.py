"""The SQL of processes, the same for SQLAlchemy and Django. Parameters are written `:name`."""

from __future__ import annotations

from celeriac import missing_table
from celeriac.errors import ConfigurationError
from celeriac.outbox.pruning import PROCESSES, STEPS
from celeriac.outbox.timer import TABLE as TIMERS

DIALECTS = ("postgresql", "sqlite", "mysql", "mariadb")
TABLES = (PROCESSES, TIMERS, STEPS)

COLUMNS = (
    "status, state, version, seq, timers, undo_events, reason, sensitive_paths, started_ms, "
    "updated_ms, expires_ms"
)
_THIS = "WHERE handler = :handler AND instance_key = :instance_key"
SELECT = f"SELECT {COLUMNS} FROM {PROCESSES} {_THIS}"
_RESERVE = (
    f"INSERT INTO {PROCESSES} (handler, instance_key, {COLUMNS}) VALUES (:handler, :instance_key, "
    "'open', '', 1, 0, '', '', '', '', :now, :now, NULL)"
)
UPDATE = (
    f"UPDATE {PROCESSES} SET status = :status, state = :state, version = :version, seq = :seq, "
    "timers = :timers, undo_events = :undo_events, reason = :reason, "
    "sensitive_paths = :sensitive_paths, started_ms = :started_ms, updated_ms = :updated_ms, "
    f"expires_ms = :expires_ms {_THIS}"
)
DELETE = f"DELETE FROM {PROCESSES} {_THIS}"
DELETE_STEPS = f"DELETE FROM {STEPS} {_THIS}"
_TIMER = (
    f"INSERT INTO {TIMERS} (handler, instance_key, name, event_id, at_ms, domain, body) "
    "VALUES (:handler, :instance_key, :name, :event_id, :at_ms, :domain, :body)"
)
_TIMER_AGAIN = "event_id = :event_id, at_ms = :at_ms, domain = :domain, body = :body"
DELETE_TIMER = f"DELETE FROM {TIMERS} {_THIS} AND name = :name"
STEP = (
    f"INSERT INTO {STEPS} (handler, instance_key, seq, at_ms, event_id, event_type, detail) "
    "VALUES (:handler, :instance_key, :seq, :at_ms, :event_id, :event_type, :detail)"
)


def lock(dialect: str) -> str:
    """Return the query of one instance that locks its row.

    SQLite needs none: the inbox has written already, and its database has one writer.
    """
    return SELECT if dialect == "sqlite" else f"{SELECT} FOR UPDATE"


def reserve(dialect: str) -> str:
    """Return the statement that inserts the row of a new instance, unless there is one.

    On MySQL it must lock an existing row for writing. INSERT IGNORE would lock it for reading, and
    two transactions that then lock it for writing would be a deadlock.
    """
    if is_mysql(dialect):
        return f"{_RESERVE} ON DUPLICATE KEY UPDATE seq = seq"
    return f"{_RESERVE} ON CONFLICT DO NOTHING"


def set_timer(dialect: str) -> str:
    """Return the statement that inserts a timer, or replaces the one of its name."""
    if is_mysql(dialect):
        return f"{_TIMER} ON DUPLICATE KEY UPDATE {_TIMER_AGAIN}"
    return f"{_TIMER} ON CONFLICT (handler, instance_key, name) DO UPDATE SET {_TIMER_AGAIN}"


def is_mysql(dialect: str) -> bool:
    return dialect in ("mysql", "mariadb")


def check_dialect(dialect: str) -> None:
    """Raise ConfigurationError for an unsupported database."""
    if dialect not in DIALECTS:
        raise ConfigurationError(
            f"processes do not support {dialect}. Use one of {', '.join(DIALECTS)}"
        )


def explained(error: Exception, remedy: str) -> Exception:
    """Return a ConfigurationError with the remedy if a table is missing, else the error."""
    return missing_table.explained(error, TABLES, remedy, "process.md")
