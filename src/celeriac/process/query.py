"""Queries of instances, for the command line and Flower, and the request to fire a timer now."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from celeriac.outbox.database import Database, Execute
from celeriac.outbox.timer import PROCESSES, STEPS, has_tables
from celeriac.outbox.timer import TABLE as TIMERS
from celeriac.process import statement
from celeriac.process.decision import Status
from celeriac.process.instance import Instance, ProcessStep, Timer
from celeriac.process.rows import read_instance, read_step

MAX_STEPS = 1000

_LIST = (
    "SELECT handler, instance_key, status, seq, timers, reason, started_ms, updated_ms "
    f"FROM {PROCESSES}"
)
_COUNT = (
    "SELECT handler, status, COUNT(*), MIN(started_ms) "
    f"FROM {PROCESSES} GROUP BY handler, status ORDER BY handler, status"
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
    """The instances of one process in one status. `oldest_ms` is when the first of them started."""

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
    """Return the number of instances by process and status. Blocks for a query."""
    with database.transaction() as execute:
        rows = _run(execute, _COUNT, {})
    return [Count(str(h), Status(s), int(n), int(oldest)) for h, s, n, oldest in rows]


def instances(
    database: Database,
    *,
    handler: str = "",
    status: Status | None = Status.OPEN,
    started_before_ms: int | None = None,
    limit: int = 100,
) -> list[Summary]:
    """Return instances, those that started first at the beginning. Blocks for a query.

    `status=None` returns those of every status, and an empty `handler` those of every process.
    """
    conditions, parameters = ["seq > 0"], dict[str, Any](max_rows=limit)
    if handler:
        conditions.append("handler = :handler")
        parameters["handler"] = handler
    if status is not None:
        conditions.append("status = :status")
        parameters["status"] = status.value
    if started_before_ms is not None:
        conditions.append("started_ms < :before")
        parameters["before"] = started_before_ms
    where = f" WHERE {' AND '.join(conditions)}"
    with database.transaction() as execute:
        rows = _run(
            execute,
            f"{_LIST}{where} ORDER BY started_ms, handler, instance_key LIMIT :max_rows",
            parameters,
        )
    return [_summary(row) for row in rows]


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
