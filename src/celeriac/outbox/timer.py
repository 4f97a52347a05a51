"""Move expired timers of processes to the outbox. The active relay does it, about once a second.

A timer is a row with the encoded event that its expiry emits. It is inserted before it is deleted,
so on SQLite, where each statement is a transaction, a relay that dies in between moves it again:
the event has the same id, and the process handles it once.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from celeriac.outbox import statement
from celeriac.outbox.database import Database, Execute
from celeriac.outbox.pruning import MAX_KEYS, prune

TABLE = "celeriac_timer"
MAX_ROWS = 500
POLL = 1.0  # seconds between two looks
LOOK_FOR_TABLE = 10.0  # seconds, in a database without processes
PRUNE_EVERY, PRUNE_AGAIN, PRUNE_PAGES = 60.0, 1.0, 10

_EXISTS = {
    "postgresql": f"SELECT 1 WHERE to_regclass('{TABLE}') IS NOT NULL",
    "mysql": "SELECT 1 FROM information_schema.tables "
    f"WHERE table_schema = DATABASE() AND table_name = '{TABLE}'",
    "sqlite": f"SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = '{TABLE}'",
}
_DUE = f"SELECT event_id FROM {TABLE} WHERE at_ms <= :now ORDER BY at_ms LIMIT :max_rows"
# Another relay that was the leader until now may be moving the same rows.
_LOCKING = " FOR UPDATE SKIP LOCKED"


def has_tables(execute: Execute, kind: str) -> bool:
    """Return whether the database has the tables of processes. Blocks for a query."""
    return bool(execute(_EXISTS[kind], {}))


def oldest_timer_ms(execute: Execute, kind: str) -> int | None:
    """Return when the first timer expires, or expired; None if none is set. Blocks."""
    if not has_tables(execute, kind):
        return None
    ((at_ms,),) = execute(f"SELECT MIN(at_ms) FROM {TABLE}", {})
    return None if at_ms is None else int(at_ms)


def move_due(execute: Execute, kind: str, now_ms: int) -> int:
    """Move expired timers to the outbox, at most MAX_ROWS; return their number. Blocks."""
    due = _DUE if kind == "sqlite" else _DUE + _LOCKING
    rows = execute(due, {"now": now_ms, "max_rows": MAX_ROWS})
    if not rows:
        return 0
    ids = {f"i{number}": str(event_id) for number, (event_id,) in enumerate(rows)}
    named = ", ".join(f":{name}" for name in ids)
    columns = "event_id, domain, body, created_ms"
    execute(
        f"INSERT INTO {statement.TABLE} ({columns}) SELECT event_id, domain, body, :now "
        f"FROM {TABLE} WHERE event_id IN ({named}) ORDER BY at_ms",
        {**ids, "now": now_ms},
    )
    execute(f"DELETE FROM {TABLE} WHERE event_id IN ({named})", ids)
    return len(ids)


class TimerMover:
    """Moves the timers of one database. Used by one thread."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database, self._clock = database, clock
        self._exists = False
        self._look_at = self._prune_at = 0.0

    def move(self, now_ms: int) -> int:
        """Move expired timers if it is time to look for them; return their number.

        Blocks. Raises errors of the database. Without the tables, it looks for them every
        LOOK_FOR_TABLE seconds.
        """
        now = self._clock()
        if now < self._look_at:
            return 0
        with self._database.transaction() as execute:
            if not self._exists and not has_tables(execute, self._database.kind):
                self._look_at = now + LOOK_FOR_TABLE
                return 0
            self._exists = True
            moved = move_due(execute, self._database.kind, now_ms)
        self._look_at = now if moved == MAX_ROWS else now + POLL
        if now >= self._prune_at:
            more = self._prune(now_ms)
            self._prune_at = now + (PRUNE_AGAIN if more else PRUNE_EVERY)
        return moved

    def _prune(self, now_ms: int) -> bool:
        """Delete at most PRUNE_PAGES pages of ended instances; return whether there are more."""
        for _ in range(PRUNE_PAGES):
            with self._database.transaction() as execute:
                if prune(execute, self._database.kind, now_ms) < MAX_KEYS:
                    return False
        return True
