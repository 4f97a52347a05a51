"""The SQL of the outbox, the same for SQLAlchemy and Django. Parameters are written `:name`."""

from __future__ import annotations

from collections.abc import Sequence

from celeriac.errors import ConfigurationError

TABLE = "celeriac_outbox"
# Of LISTEN and NOTIFY, and of the lock that makes one relay the active one.
CHANNEL = "celeriac_outbox"
LOCK_SPACE = 0x63656C65

INSERT = (
    f"INSERT INTO {TABLE} (event_id, domain, body, at_ms, created_ms) "
    "VALUES (:event_id, :domain, :body, :at_ms, :created_ms)"
)
NOTIFY = f"SELECT pg_notify('{CHANNEL}', '')"
INSERT_AND_NOTIFY = f"{INSERT} RETURNING pg_notify('{CHANNEL}', '')"
LISTEN = f"LISTEN {CHANNEL}"

# Whether the right to publish was free. Of one schema: the outbox of another is another's. On
# PostgreSQL it ends with the transaction, on MySQL with the connection.
LOCKS = {
    "postgresql": f"SELECT pg_try_advisory_xact_lock({LOCK_SPACE}, hashtext(current_schema()))",
    "mysql": "SELECT GET_LOCK(CONCAT('celeriac.', SHA1(DATABASE())), 0)",
}

_SIZES = f"SELECT id, LENGTH(body) FROM {TABLE} WHERE failed_ms IS NULL"
_TAKE = f"SELECT id, event_id, domain, body, at_ms FROM {TABLE} WHERE failed_ms IS NULL"
FAIL = f"UPDATE {TABLE} SET failed_ms = :now, error = :error WHERE id = :id"

WAITING = f"SELECT COUNT(*), MIN(created_ms) FROM {TABLE} WHERE failed_ms IS NULL"
FAILED = f"SELECT COUNT(*), MIN(failed_ms) FROM {TABLE} WHERE failed_ms IS NOT NULL"
LIST_FAILED = (
    f"SELECT id, event_id, domain, error, failed_ms, created_ms FROM {TABLE} "
    "WHERE failed_ms IS NOT NULL ORDER BY id LIMIT :most"
)
FAILED_IDS = (
    f"SELECT id FROM {TABLE} WHERE failed_ms IS NOT NULL AND id > :after ORDER BY id LIMIT :most"
)
_FAILED_AMONG = f"SELECT id, event_id FROM {TABLE} WHERE failed_ms IS NOT NULL"
_RETRY = f"UPDATE {TABLE} SET failed_ms = NULL, error = NULL WHERE failed_ms IS NOT NULL"
_DISCARD = f"DELETE FROM {TABLE} WHERE failed_ms IS NOT NULL"


def sizes(held: int) -> str:
    """The oldest rows, but of so many domains."""
    return f"{_SIZES}{_but(held)} ORDER BY id LIMIT :most"


def fetch(count: int) -> str:
    """So many rows with their bodies, by `:i0`, `:i1`, …

    Not by `id <= :last`: a transaction that took its numbers earlier may have been committed since
    their sizes were read, and its rows may be of any size.
    """
    return f"{_TAKE} AND id IN ({_listed(count)}) ORDER BY id"


def held(domains: Sequence[str]) -> dict[str, str]:
    """The parameters of the domains that `sizes` leaves out."""
    return {f"d{number}": domain for number, domain in enumerate(domains)}


def delete(count: int) -> str:
    """Removes so many rows, by `:i0`, `:i1`, …

    Not by `id <= :last`: a transaction that took its number earlier may have been committed since.
    """
    return f"DELETE FROM {TABLE} WHERE id IN ({_listed(count)})"


def failed_among(ids: Sequence[int]) -> str:
    """Those of these rows that are failed, with the ids of their events."""
    return _FAILED_AMONG + _among(ids)


def retry(ids: Sequence[int]) -> str:
    """Gives failed rows back to the relay."""
    return _RETRY + _among(ids)


def discard(ids: Sequence[int]) -> str:
    """Removes failed rows."""
    return _DISCARD + _among(ids)


def numbered(ids: Sequence[int]) -> dict[str, int]:
    """The parameters of the statements that name rows."""
    return {f"i{number}": id for number, id in enumerate(ids)}


def _but(held: int) -> str:
    listed = ", ".join(f":d{number}" for number in range(held))
    return f" AND domain NOT IN ({listed})" if held else ""


def _among(ids: Sequence[int]) -> str:
    return f" AND id IN ({_listed(len(ids))})"


def _listed(count: int) -> str:
    return ", ".join(f":i{number}" for number in range(count))


def explained(error: Exception, remedy: str) -> Exception:
    """Where the table is missing, what to do about it; else the error as it is."""
    said = str(error).lower()
    if TABLE in said and any(word in said for word in ("no such table", "exist")):
        return ConfigurationError(f"there is no table {TABLE}: {remedy} (docs/how-to/outbox.md)")
    return error
