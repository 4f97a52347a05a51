"""Instances as rows: the store over any connection that executes SQL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from celeriac.outbox.database import Execute
from celeriac.process import statement
from celeriac.process.decision import Status
from celeriac.process.instance import Instance, ProcessStep, StepChanges, Timer

Write = Callable[[Sequence[dict[str, Any]]], None]


class StepDetail(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a step has in the column `detail`."""

    status: Status
    emitted: tuple[tuple[str, str], ...] = ()
    reminders: tuple[tuple[str, int], ...] = ()
    forgotten: tuple[str, ...] = ()
    reason: str = ""


class RowStore:
    """See ProcessStore. `execute` and `write` use one open transaction of the database."""

    def __init__(self, execute: Execute, dialect: str, write: Write) -> None:
        statement.check_dialect(dialect)
        self._execute, self._dialect = execute, dialect
        self._write = write

    def lock(self, handler: str, key: str, *, insert: bool, now_ms: int) -> Instance | None:
        at = {"handler": handler, "instance_key": key}
        if insert:
            self._execute(statement.reserve(self._dialect), {**at, "now": now_ms})
        rows = self._execute(statement.lock(self._dialect), at)
        if not rows:
            return None
        instance = read_instance(handler, key, rows[0])
        # A row that was only reserved: no event has been handled.
        return instance if instance.seq else None

    def save(self, changes: StepChanges) -> None:
        instance = changes.instance
        at = {"handler": instance.handler, "instance_key": instance.key}
        self._execute(statement.UPDATE, {**at, **_columns(instance)})
        for name in changes.removed_timers:
            self._execute(statement.DELETE_TIMER, {**at, "name": name})
        for row in changes.set_timers:
            self._execute(
                statement.set_timer(self._dialect),
                {
                    **at,
                    "name": row.name,
                    "event_id": row.event_id,
                    "at_ms": row.at_ms,
                    "domain": row.domain,
                    "body": row.body,
                },
            )
        step = changes.step
        detail = StepDetail(step.status, step.emitted, step.reminders, step.forgotten, step.reason)
        self._execute(
            statement.STEP,
            {
                **at,
                "seq": step.seq,
                "at_ms": step.at_ms,
                "event_id": step.event_id,
                "event_type": step.event_type,
                "detail": _json(detail),
            },
        )

    def write(self, rows: Sequence[dict[str, Any]]) -> None:
        self._write(rows)


def read_instance(handler: str, key: str, row: Sequence[Any]) -> Instance:
    """Return the instance from the columns of `statement.SELECT`."""
    status, state, version, seq, timers, undo, reason, sensitive, started, updated, expires = row
    return Instance(
        handler=handler,
        key=key,
        status=Status(status),
        state=str(state).encode(),
        version=int(version),
        seq=int(seq),
        timers=msgspec.json.decode(timers, type=dict[str, Timer]) if timers else {},
        undo=msgspec.json.decode(undo, type=list[str]) if undo else [],
        reason=str(reason),
        sensitive=str(sensitive),
        started_ms=int(started),
        updated_ms=int(updated),
        expires_ms=None if expires is None else int(expires),
    )


def read_step(row: Sequence[Any]) -> ProcessStep:
    """Return the step from (seq, at_ms, event_id, event_type, detail)."""
    seq, at_ms, event_id, event_type, detail = row
    read = msgspec.json.decode(detail, type=StepDetail)
    return ProcessStep(
        seq=int(seq),
        at_ms=int(at_ms),
        event_id=str(event_id),
        event_type=str(event_type),
        **msgspec.structs.asdict(read),
    )


def _columns(instance: Instance) -> dict[str, Any]:
    return {
        "status": instance.status.value,
        "state": instance.state.decode(),
        "version": instance.version,
        "seq": instance.seq,
        "timers": _json(instance.timers),
        "undo_events": _json(instance.undo),
        "reason": instance.reason,
        "sensitive_paths": instance.sensitive,
        "started_ms": instance.started_ms,
        "updated_ms": instance.updated_ms,
        "expires_ms": instance.expires_ms,
    }


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
