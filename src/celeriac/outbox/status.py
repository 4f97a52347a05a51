"""What lies in an outbox, and what is done about failed rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from celeriac.outbox import statement
from celeriac.outbox.database import Database

PAGE = 500  # rows of one statement: SQLite takes 999 parameters


@dataclass(frozen=True, slots=True)
class OutboxStatus:
    """`oldest_s` is the age of the oldest event that waits, in seconds; None where none does."""

    database: str
    waiting: int
    oldest_s: float | None
    failed: int


@dataclass(frozen=True, slots=True)
class FailedRow:
    """An event that could not be published, and why. `row` names it for `retry` and `discard`."""

    row: int
    event_id: str
    domain: str
    error: str
    failed_ms: int
    created_ms: int


def status(database: Database) -> OutboxStatus:
    """Blocks for two queries. Raises faults of the database."""
    with database.ask() as execute:
        ((waiting, oldest_ms),) = execute(statement.WAITING, {})
        ((failed, _),) = execute(statement.FAILED, {})
    age = None if oldest_ms is None else max(0.0, time.time() - int(oldest_ms) / 1000)
    return OutboxStatus(database.name, int(waiting), age, int(failed))


def failed(database: Database, most: int = 100) -> list[FailedRow]:
    """The failed rows, oldest first."""
    with database.ask() as execute:
        rows = execute(statement.LIST_FAILED, {"most": most})
    return [
        FailedRow(int(id), str(event_id), str(domain), str(error or ""), int(at), int(created))
        for id, event_id, domain, error, at, created in rows
    ]


def failed_events(database: Database, ids: Sequence[int]) -> dict[int, str]:
    """Return row → event id for those of these rows that are failed."""
    found: dict[int, str] = {}
    for page in _pages(ids):
        with database.ask() as execute:
            rows = execute(statement.failed_among(page), statement.numbered(page))
        found |= {int(id): str(event_id) for id, event_id in rows}
    return found


def retry(database: Database, ids: Iterable[int] | None = None) -> int:
    """Give failed rows back to the relay, all by default; return how many. Idempotent.

    Blocks for a transaction for each page of PAGE rows.
    """
    return _change(database, ids, statement.retry)


def discard(database: Database, ids: Iterable[int] | None = None) -> int:
    """Remove failed rows permanently, all by default; return how many. Idempotent.

    Blocks for a transaction for each page of PAGE rows.
    """
    return _change(database, ids, statement.discard)


def _change(
    database: Database, ids: Iterable[int] | None, change: Callable[[Sequence[int]], str]
) -> int:
    changed = 0
    for page in _all_failed(database) if ids is None else _pages(ids):
        with database.ask() as execute:
            numbered = statement.numbered(page)
            changed += len(list(execute(statement.failed_among(page), numbered)))
            execute(change(page), numbered)
    return changed


def _pages(ids: Iterable[int]) -> Iterator[list[int]]:
    rest = iter(ids)
    while page := list(islice(rest, PAGE)):
        yield page


def _all_failed(database: Database) -> Iterator[list[int]]:
    """What the relay parks again is behind the last page, so this ends."""
    last = 0
    while True:
        with database.ask() as execute:
            rows = execute(statement.FAILED_IDS, {"after": last, "most": PAGE})
        page = [int(id) for (id,) in rows]
        if not page:
            return
        last = page[-1]
        yield page
