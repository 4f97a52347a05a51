"""What lies in an outbox, and what is done about parked rows."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from celeriac.outbox import statement
from celeriac.outbox.database import Database


@dataclass(frozen=True, slots=True)
class OutboxStatus:
    """`oldest_s` is the age of the oldest event that waits, in seconds; None where none does."""

    database: str
    waiting: int
    oldest_s: float | None
    parked: int


@dataclass(frozen=True, slots=True)
class ParkedRow:
    """An event that could not be published, and why. `row` names it for `retry` and `discard`."""

    row: int
    event_id: str
    domain: str
    error: str
    parked_ms: int
    created_ms: int


def status(database: Database) -> OutboxStatus:
    """Blocks for two queries. Raises faults of the database."""
    with database.ask() as execute:
        ((waiting, oldest_ms),) = execute(statement.WAITING, {})
        ((parked, _),) = execute(statement.PARKED, {})
    age = None if oldest_ms is None else max(0.0, time.time() - int(oldest_ms) / 1000)
    return OutboxStatus(database.name, int(waiting), age, int(parked))


def parked(database: Database, most: int = 100) -> list[ParkedRow]:
    """The parked rows, oldest first."""
    with database.ask() as execute:
        rows = execute(statement.LIST_PARKED, {"most": most})
    return [
        ParkedRow(int(id), str(event_id), str(domain), str(error or ""), int(at), int(created))
        for id, event_id, domain, error, at, created in rows
    ]


def retry(database: Database, ids: Sequence[int] = ()) -> None:
    """Gives parked rows back to the relay; no ids: all. Idempotent."""
    with database.ask() as execute:
        execute(statement.unpark(ids), statement.numbered(ids))


def discard(database: Database, ids: Sequence[int] = ()) -> None:
    """Removes parked rows for good; no ids: all. Idempotent."""
    with database.ask() as execute:
        execute(statement.discard(ids), statement.numbered(ids))
