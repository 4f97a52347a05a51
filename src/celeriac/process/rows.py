"""Instances as rows: the store over any connection that executes SQL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from celeriac.outbox.database import Execute
from celeriac.outbox.pruning import PROCESSES
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


TRIES = 10  # to insert and lock a row that another transaction deletes in between


class RowStore:
    """See ProcessStore. `execute` and `write` use one open transaction of the database."""

    def __init__(self, execute: Execute, dialect: str, write: Write) -> None:
        statement.check_dialect(dialect)
        self._execute, self._dialect = execute, dialect
        self._write = write

    def lock(self, handler: str, key: str, *, insert: bool, now_ms: int) -> Instance | None:
        at = {"handler": handler, "instance_key": key}
        instance = self._locked(at, insert=insert, now_ms=now_ms)
        if instance is not None and instance.has_expired(now_ms):
            # The relay, which deletes it too, looks less often.
            for delete in (statement.DELETE_STEPS, statement.DELETE):
                self._execute(delete, at)
            instance = self._locked(at, insert=insert, now_ms=now_ms)
        # A row that was only reserved: no event has been handled.
        return instance if instance is not None and instance.seq else None

    def _locked(self, at: dict[str, Any], *, insert: bool, now_ms: int) -> Instance | None:
        """Return the row of an instance, locked; with `insert`, there is one."""
        for _ in range(TRIES if insert else 1):
            if insert:
                self._execute(statement.reserve(self._dialect), {**at, "now": now_ms})
            rows = self._execute(statement.lock(self._dialect), at)
            if rows:
                return read_instance(at["handler"], at["instance_key"], rows[0])
            # On PostgreSQL, the relay deleted an ended instance between the two statements.
        if not insert:
            return None
        name = f"the instance {at['instance_key']} of {at['handler']}"
        raise RuntimeError(
            f"the row of {name} in {PROCESSES} was deleted {TRIES} times when it was "
            "inserted. Look for a trigger or a job that deletes rows of this table"
        )

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
