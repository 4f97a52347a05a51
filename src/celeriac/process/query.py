"""Queries of instances, for the command line and Flower, and the request to fire a timer now."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from celeriac.outbox.database import Database, Execute
from celeriac.outbox.pruning import PROCESSES, STEPS
from celeriac.outbox.timer import TABLE as TIMERS
from celeriac.outbox.timer import has_tables
from celeriac.process import statement
from celeriac.process.decision import Status
from celeriac.process.instance import Instance, ProcessStep, Timer
from celeriac.process.rows import read_instance, read_step

MAX_STEPS = 1000
MAX_COUNTED = 100_000  # instances of one process in one status

_LIST = (
    "SELECT handler, instance_key, status, seq, timers, reason, started_ms, updated_ms "
    f"FROM {PROCESSES}"
)
# The next handler, and one status of it: each reads its part of an index. A GROUP BY would read all
# instances, and those that ended stay for 30 days.
_NEXT_HANDLER = f"SELECT MIN(handler) FROM {PROCESSES} WHERE handler > :after"
_COUNT = (
    "SELECT COUNT(*), MIN(started_ms) FROM ("
    f"SELECT started_ms FROM {PROCESSES} WHERE handler = :handler AND status = :status "
    "ORDER BY started_ms LIMIT :max_rows) oldest"
)
_STEPS = (
    f"SELECT seq, at_ms, event_id, event_type, detail FROM {STEPS} "
    "WHERE handler = :handler AND instance_key = :instance_key ORDER BY seq LIMIT :max_rows"
)
_FIRE = (
    f"UPDATE {TIMERS} SET at_ms = :now "
    "WHERE handler = :handler AND instance_key = :instance_key AND name = :name AND at_ms > :now"
)


@dataclass(frozen=True, slots=True)
class Summary:
    """One instance in a list. `timers` are the names of those that are set."""

    handler: str
    key: str
    status: Status
    steps: int
    timers: tuple[str, ...]
    reason: str
    started_ms: int
    updated_ms: int


@dataclass(frozen=True, slots=True)
class Count:
    """The instances of one process in one status. `oldest_ms` is when the first of them started.

    `number` is at most MAX_COUNTED; then there may be more.
    """

    handler: str
    status: Status
    number: int
    oldest_ms: int


@dataclass(frozen=True, slots=True)
class InstanceHistory:
    """One instance and its steps, oldest first, at most MAX_STEPS."""

    instance: Instance
    steps: tuple[ProcessStep, ...]


def has_processes(database: Database) -> bool:
    """Return whether the database has the tables of processes. Blocks for a query."""
    with database.transaction() as execute:
        return has_tables(execute, database.kind)


def counts(database: Database) -> list[Count]:
    """Return the number of instances by process and status, without those that have none.

    Blocks for four queries of each process, which read at most MAX_COUNTED rows of an index each.
    """
    known: list[Count] = []
    with database.transaction() as execute:
        handler = _next_handler(execute, "")
        while handler is not None:
            for status in sorted(Status):
                at = {"handler": handler, "status": status.value, "max_rows": MAX_COUNTED}
                ((number, oldest_ms),) = _run(execute, _COUNT, at)
                if number:
                    known.append(Count(handler, status, int(number), int(oldest_ms)))
            handler = _next_handler(execute, handler)
    return known


def instances(
    database: Database,
    *,
    handler: str = "",
    status: Status | None = Status.OPEN,
    started_before_ms: int | None = None,
    limit: int = 100,
) -> list[Summary]:
    """Return instances, those that started first at the beginning. Blocks for a query.

    `status=None` returns those of every status, which takes a query for each, and an empty
    `handler` those of every process. Each query reads `limit` rows in the order of an index.
    """
    conditions, parameters = ["seq > 0", "status = :status"], dict[str, Any](max_rows=limit)
    if handler:
        conditions.append("handler = :handler")
        parameters["handler"] = handler
    if started_before_ms is not None:
        conditions.append("started_ms < :before")
        parameters["before"] = started_before_ms
    sql = f"{_LIST} WHERE {' AND '.join(conditions)} ORDER BY started_ms LIMIT :max_rows"
    summaries: list[Summary] = []
    with database.transaction() as execute:
        for each in [status] if status is not None else Status:
            rows = _run(execute, sql, {**parameters, "status": each.value})
            summaries += [_summary(row) for row in rows]
    return sorted(summaries, key=lambda row: (row.started_ms, row.handler, row.key))[:limit]


def history(database: Database, handler: str, key: str) -> InstanceHistory | None:
    """Return an instance with its steps; None if there is none. Blocks for two queries."""
    at = {"handler": handler, "instance_key": key}
    with database.transaction() as execute:
        rows = _run(execute, statement.SELECT, at)
        steps = _run(execute, _STEPS, {**at, "max_rows": MAX_STEPS}) if rows else ()
    if not rows or not (instance := read_instance(handler, key, rows[0])).seq:
        return None
    return InstanceHistory(instance, tuple(read_step(step) for step in steps))


def fire_timer(database: Database, handler: str, key: str, name: str) -> bool:
    """Let a timer that is set expire now; return whether it will. Blocks. Idempotent.

    The relay emits its event within about a second.
    """
    now = int(time.time() * 1000)
    stored = history(database, handler, key)
    if stored is None or name not in stored.instance.timers:
        return False
    with database.transaction() as execute:
        _run(
            execute,
            _FIRE,
            {"handler": handler, "instance_key": key, "name": name, "now": now},
        )
    return True


def _next_handler(execute: Execute, after: str) -> str | None:
    ((handler,),) = _run(execute, _NEXT_HANDLER, {"after": after})
    return None if handler is None else str(handler)


def _summary(row: Sequence[Any]) -> Summary:
    handler, key, status, seq, timers, reason, started_ms, updated_ms = row
    return Summary(
        handler=str(handler),
        key=_text(key),
        status=Status(status),
        steps=int(seq),
        timers=tuple(msgspec.json.decode(timers, type=dict[str, Timer])) if timers else (),
        reason=str(reason),
        started_ms=int(started_ms),
        updated_ms=int(updated_ms),
    )


def _text(value: str | bytes) -> str:
    # MySQL stores keys as bytes.
    return value.decode() if isinstance(value, bytes) else value


def _run(execute: Execute, sql: str, parameters: dict[str, Any]) -> Sequence[Sequence[Any]]:
    remedy = "call celeriac.process.create_processes(engine) once, or migrate"
    try:
        return execute(sql, parameters)
    except Exception as error:
        explained = statement.explained(error, remedy)
        if explained is error:
            raise
        raise explained from error
