"""The SQL of the outbox, the same for SQLAlchemy and Django. Parameters are written `:name`."""

from __future__ import annotations

from collections.abc import Sequence

from celeriac import missing_table

TABLE = "celeriac_outbox"
# The channel of LISTEN and NOTIFY, and the space of the leader lock.
CHANNEL = "celeriac_outbox"
LOCK_SPACE = 0x63656C65

INSERT = (
    f"INSERT INTO {TABLE} (event_id, domain, body, at_ms, created_ms) "
    "VALUES (:event_id, :domain, :body, :at_ms, :created_ms)"
)
NOTIFY = f"SELECT pg_notify('{CHANNEL}', '')"
INSERT_AND_NOTIFY = f"{INSERT} RETURNING pg_notify('{CHANNEL}', '')"
LISTEN = f"LISTEN {CHANNEL}"

# Try to acquire the leader lock. There is one for each schema, which has its own outbox. It ends
# with the transaction on PostgreSQL, with the connection on MySQL.
_MYSQL_LOCK = "CONCAT('celeriac.', SHA1(DATABASE()))"
LOCKS = {
    "postgresql": f"SELECT pg_try_advisory_xact_lock({LOCK_SPACE}, hashtext(current_schema()))",
    "mysql": f"SELECT GET_LOCK({_MYSQL_LOCK}, 0)",
}
RELEASE_LOCK = f"SELECT RELEASE_LOCK({_MYSQL_LOCK})"  # MySQL only

_SIZES = f"SELECT id, LENGTH(body) FROM {TABLE} WHERE failed_ms IS NULL"
_FETCH = f"SELECT id, event_id, domain, body, at_ms FROM {TABLE} WHERE failed_ms IS NULL"
FAIL = f"UPDATE {TABLE} SET failed_ms = :now, error = :error WHERE id = :id"

WAITING = f"SELECT COUNT(*), MIN(created_ms) FROM {TABLE} WHERE failed_ms IS NULL"
FAILED = f"SELECT COUNT(*), MIN(failed_ms) FROM {TABLE} WHERE failed_ms IS NOT NULL"
LIST_FAILED = (
    f"SELECT id, event_id, domain, error, failed_ms, created_ms FROM {TABLE} "
    "WHERE failed_ms IS NOT NULL ORDER BY id LIMIT :max_rows"
)
FAILED_IDS = (
    f"SELECT id FROM {TABLE} WHERE failed_ms IS NOT NULL AND id > :after "
    "ORDER BY id LIMIT :max_rows"
)
_FAILED_AMONG = f"SELECT id, event_id FROM {TABLE} WHERE failed_ms IS NOT NULL"
_RETRY = f"UPDATE {TABLE} SET failed_ms = NULL, error = NULL WHERE failed_ms IS NOT NULL"
_DISCARD = f"DELETE FROM {TABLE} WHERE failed_ms IS NOT NULL"


def sizes(excluded_domains: int) -> str:
    """Return the query of the oldest rows' sizes, without a number of domains."""
    return f"{_SIZES}{_except(excluded_domains)} ORDER BY id LIMIT :max_rows"


def fetch(count: int) -> str:
    """Return the query of `count` rows with their bodies, by `:i0`, `:i1`, …

    `id <= :last` would be wrong: a transaction with earlier ids may have been committed after the
    sizes were read, and its rows can have any size.
    """
    return f"{_FETCH} AND id IN ({_listed(count)}) ORDER BY id"


def excluded(domains: Sequence[str]) -> dict[str, str]:
    """Return the parameters for the domains that `sizes` excludes."""
    return {f"d{number}": domain for number, domain in enumerate(domains)}


def delete(count: int) -> str:
    """Return the statement that deletes `count` rows, by `:i0`, `:i1`, …

    `id <= :last` would be wrong: a transaction with earlier ids may have been committed since.
    """
    return f"DELETE FROM {TABLE} WHERE id IN ({_listed(count)})"


def failed_among(ids: Sequence[int]) -> str:
    """Return the query of the failed rows among these, with their event ids."""
    return _FAILED_AMONG + _among(ids)


def retry(ids: Sequence[int]) -> str:
    """Return the statement that makes failed rows publishable again."""
    return _RETRY + _among(ids)


def discard(ids: Sequence[int]) -> str:
    """Return the statement that deletes failed rows."""
    return _DISCARD + _among(ids)


def numbered(ids: Sequence[int]) -> dict[str, int]:
    """Return the parameters of the statements that take row ids."""
    return {f"i{number}": id for number, id in enumerate(ids)}


def _except(domains: int) -> str:
    listed = ", ".join(f":d{number}" for number in range(domains))
    return f" AND domain NOT IN ({listed})" if domains else ""


def _among(ids: Sequence[int]) -> str:
    return f" AND id IN ({_listed(len(ids))})"


def _listed(count: int) -> str:
    return ", ".join(f":i{number}" for number in range(count))


def explained(error: Exception, remedy: str) -> Exception:
    """Return a ConfigurationError with the remedy if the table is missing, else the error."""
    return missing_table.explained(error, (TABLE,), remedy, "outbox.md")
