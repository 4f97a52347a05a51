"""The status of an outbox, and the retry and removal of failed rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from celeriac.outbox import statement
from celeriac.outbox.database import Database
from celeriac.outbox.timer import oldest_timer_ms

PAGE = 500  # rows of one statement: SQLite takes 999 parameters


@dataclass(frozen=True, slots=True)
class OutboxStatus:
    """`oldest_s` is the age of the oldest waiting event in seconds; None if none waits.

    `timer_overdue_s` is how long ago the first timer of a process expired; None if none has.
    """

    database: str
    waiting: int
    oldest_s: float | None
    failed: int
    timer_overdue_s: float | None = None


@dataclass(frozen=True, slots=True)
class FailedRow:
    """An event that could not be published. `row` is its id for `retry` and `discard`."""

    row: int
    event_id: str
    domain: str
    error: str
    failed_ms: int
    created_ms: int


def status(database: Database) -> OutboxStatus:
    """Return the status of the outbox. Blocks for four queries. Raises errors of the database."""
    with database.transaction() as execute:
        ((waiting, oldest_ms),) = execute(statement.WAITING, {})
        ((failed, _),) = execute(statement.FAILED, {})
        timer_ms = oldest_timer_ms(execute, database.kind)
    age = None if oldest_ms is None else max(0.0, time.time() - int(oldest_ms) / 1000)
    overdue = None if timer_ms is None else time.time() - timer_ms / 1000
    if overdue is not None and overdue < 0:
        overdue = None
    return OutboxStatus(database.name, int(waiting), age, int(failed), overdue)


def failed(database: Database, max_rows: int = 100) -> list[FailedRow]:
    """Return the failed rows, oldest first. Blocks for a query."""
    with database.transaction() as execute:
        rows = execute(statement.LIST_FAILED, {"max_rows": max_rows})
    return [
        FailedRow(int(id), str(event_id), str(domain), str(error or ""), int(at), int(created))
        for id, event_id, domain, error, at, created in rows
    ]


def failed_events(database: Database, ids: Sequence[int]) -> dict[int, str]:
    """Return row → event id for the failed rows among these."""
    event_ids: dict[int, str] = {}
    for page in _pages(ids):
        with database.transaction() as execute:
            rows = execute(statement.failed_among(page), statement.numbered(page))
        event_ids |= {int(id): str(event_id) for id, event_id in rows}
    return event_ids


def retry(database: Database, ids: Iterable[int] | None = None) -> int:
    """Make failed rows publishable again, by default all; return their number. Idempotent.

    Blocks for a transaction for each page of PAGE rows.
    """
    return _change(database, ids, statement.retry)


def discard(database: Database, ids: Iterable[int] | None = None) -> int:
    """Delete failed rows permanently, by default all; return their number. Idempotent.

    Blocks for a transaction for each page of PAGE rows.
    """
    return _change(database, ids, statement.discard)


def _change(
    database: Database, ids: Iterable[int] | None, change: Callable[[Sequence[int]], str]
) -> int:
    changed = 0
    for page in _all_failed(database) if ids is None else _pages(ids):
        with database.transaction() as execute:
            numbered = statement.numbered(page)
            changed += len(list(execute(statement.failed_among(page), numbered)))
            execute(change(page), numbered)
    return changed


def _pages(ids: Iterable[int]) -> Iterator[list[int]]:
    remaining = iter(ids)
    while page := list(islice(remaining, PAGE)):
        yield page


def _all_failed(database: Database) -> Iterator[list[int]]:
    """Yield the ids of failed rows in pages. Rows that fail again are not yielded again."""
    last = 0
    while True:
        with database.transaction() as execute:
            rows = execute(statement.FAILED_IDS, {"after": last, "max_rows": PAGE})
        page = [int(id) for (id,) in rows]
        if not page:
            return
        last = page[-1]
        yield page
