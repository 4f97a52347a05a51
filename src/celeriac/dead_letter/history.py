"""The history of one event: every attempt and every action, in order."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from celeriac.dead_letter.audit import Note
from celeriac.delivery import Failure, Restart
from celeriac.tracking import UNFINISHED, Cell, DeliveryState, EventStatus, state_of


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a history.

    `did` is `emitted`, `failed`, the final state of an attempt or delivery, or an operator's action
    (`redrive`, `replay`, `edit`). `at_ms` is None for a future step. `life` counts from 1; a
    redrive or replay begins the next one, whose attempts count from 1. `actor`, `via` and `reason`
    describe the action. `edited` is the id of the event that replaces this one since an edit.
    """

    did: str
    at_ms: int | None
    handler: str = ""
    life: int = 1
    attempt: int | None = None
    took_us: int | None = None
    worker: str | None = None
    error: str | None = None
    due_ms: int | None = None
    actor: str = ""
    via: str = ""
    reason: str = ""
    edited: str | None = None


def history_of(event: EventStatus, handler: str | None = None) -> list[Step]:
    """Return the steps of an event, oldest first; only those of `handler` if given."""
    first = Step(did="emitted", at_ms=event.time_ms, actor=event.source)
    if event.location == "delayed":
        first = Step(did="delayed", at_ms=None, due_ms=event.time_ms, actor=event.source)
    timed: list[tuple[float, Step]] = [(0, first)]
    for cell in event.cells:
        # Clocks differ: a failure has its worker's time, a restart the server's.
        at = float(event.time_ms)
        for step in _of_cell(cell) if handler in (None, cell.handler) else ():
            at = float("inf") if step.at_ms is None else max(at, step.at_ms)
            timed.append((at, step))
    return [step for _, step in sorted(timed, key=lambda pair: pair[0])]


def _of_cell(cell: Cell) -> Iterator[Step]:
    life = max((restart.life for restart in cell.restarts), default=1)
    lines: list[Failure | Restart] = [*cell.failures, *cell.restarts]
    # Within a life: the action that began it, its attempts, and the edit that ended it.
    lines.sort(key=lambda line: (line.life, _rank(line), line.at))
    final = cell.failures[-1] if cell.failures else None
    for line in lines:
        if isinstance(line, Restart):
            if line.ended and line.ended != DeliveryState.DEAD:
                yield _ended(cell, line)
            yield _restarted(cell, line)
        else:
            is_final = line is final and cell.state is DeliveryState.DEAD
            yield _failed(cell, line, "dead" if is_final else "failed")
    known = final is not None and (final.life, final.attempt) == (life, cell.attempts)
    if cell.state in UNFINISHED:
        attempt = cell.attempts if cell.state is DeliveryState.RUNNING else None
        yield Step(
            did=cell.state,
            at_ms=None,
            handler=cell.handler,
            life=life,
            attempt=attempt,
            worker=cell.worker,
            due_ms=cell.due_ms,
        )
    elif (
        not (known and cell.state is DeliveryState.DEAD) and cell.state is not DeliveryState.MISSING
    ):
        yield Step(
            did=cell.state,
            at_ms=cell.at_ms,
            handler=cell.handler,
            life=life,
            attempt=cell.attempts or None,
            took_us=cell.took_us,
            worker=cell.worker,
        )


def _rank(line: Failure | Restart) -> int:
    if isinstance(line, Failure):
        return 1
    return 2 if line.edited else 0


def _ended(cell: Cell, restart: Restart) -> Step:
    """Return the end of the life before the restart, if it was not a failure."""
    return Step(
        did=state_of(restart.ended),
        at_ms=restart.ended_at,
        handler=cell.handler,
        life=restart.life - 1,
        attempt=restart.attempts or None,
        took_us=restart.took or None,
    )


def _restarted(cell: Cell, restart: Restart) -> Step:
    note = Note.decode(restart.note)
    return Step(
        did=note.did or "redrive",
        at_ms=restart.at,
        handler=cell.handler,
        life=restart.life,
        actor=note.actor,
        via=note.via,
        reason=note.reason,
        edited=restart.edited or None,
    )


def _failed(cell: Cell, failure: Failure, did: str) -> Step:
    return Step(
        did=did,
        at_ms=failure.at,
        handler=cell.handler,
        life=failure.life,
        attempt=failure.attempt,
        took_us=failure.took or None,
        worker=failure.worker or None,
        error=failure.error,
    )
