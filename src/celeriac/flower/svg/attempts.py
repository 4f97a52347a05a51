"""The attempts of one handler at one event, each with its wait and its run, on one scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from celeriac.dead_letter import restart_text
from celeriac.delivery import Restart
from celeriac.tracking import Cell, DeliveryState

SCALE = 1000  # units from the emit to the end of the last attempt of any handler
LEAST = 4  # units of the shortest run, so that it is seen


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt; times are ms since the epoch. `result` is a state, or 'failed' for one that is
    run again. `ran_s` is None while it runs. `begun_by` says who redrove or replayed the delivery
    before the attempt, the first of a later `life`."""

    number: int
    result: str
    waited_from_ms: float
    started_ms: float
    ended_ms: float
    error: str = ""
    worker: str = ""
    life: int = 1
    begun_by: str = ""

    @property
    def key(self) -> str:
        """Names the attempt among all of the delivery."""
        return f"{self.life}.{self.number}"

    @property
    def waited_s(self) -> float:
        return max(0.0, self.started_ms - self.waited_from_ms) / 1000

    @property
    def ran_s(self) -> float:
        return max(0.0, self.ended_ms - self.started_ms) / 1000


def attempts_of(cell: Cell, emitted_ms: int, now_ms: int) -> list[Attempt]:
    """Those that failed, and the one under way or the last one, as far as they are known.

    Ends by a worker's clock that is behind the server's are put where the wait began.
    """
    found: list[Attempt] = []
    free, by = float(emitted_ms), ""
    begun = {one.life: one for one in cell.restarts if not one.edited}
    life = max(begun, default=1)
    for number in range(1, life + 1):
        restart = begun.get(number)
        if restart is not None:
            if restart.ended in (DeliveryState.PROCESSED, DeliveryState.SKIPPED):
                found.append(_ended(restart, free, by))
            free, by = max(free, float(restart.at)), restart_text(restart)
        for failure in cell.failures:
            if failure.life != number:
                continue
            ended = max(float(failure.at), free)
            started = max(free, ended - failure.took / 1000)
            dead = cell.state is DeliveryState.DEAD and failure is cell.failures[-1]
            found.append(
                Attempt(
                    failure.attempt, "dead" if dead else "failed", free, started, ended,
                    failure.error, failure.worker, failure.life, by,
                )
            )  # fmt: skip
            free, by = ended, ""
    known = found[-1].number if found and found[-1].life == life else 0
    if cell.attempts <= known or cell.at_ms is None:
        return found
    at, worker = max(float(cell.at_ms), free), cell.worker or ""
    if cell.state in (DeliveryState.PROCESSED, DeliveryState.SKIPPED, DeliveryState.DEAD):
        started = max(free, at - (cell.took_us or 0) / 1000)
        found.append(
            Attempt(
                cell.attempts, cell.state.value, free, started, at,
                worker=worker, life=life, begun_by=by,
            )
        )  # fmt: skip
    elif cell.state is DeliveryState.RUNNING:
        end = max(at, float(now_ms))
        found.append(
            Attempt(cell.attempts, "running", free, at, end, worker=worker, life=life, begun_by=by)
        )
    return found


def _ended(restart: Restart, free: float, by: str) -> Attempt:
    """The last attempt of the life before a restart, where that did not fail."""
    ended = max(float(restart.ended_at or restart.at), free)
    started = max(free, ended - restart.took / 1000)
    return Attempt(
        restart.attempts, restart.ended, free, started, ended, life=restart.life - 1, begun_by=by
    )


@dataclass(frozen=True, slots=True)
class Span:
    """Where an attempt lies on the scale: its wait begins at `x`, its run at `run_x`."""

    attempt: Attempt
    x: float
    wait: float
    run_x: float
    run: float


def spans(attempts: Sequence[Attempt], begin_ms: int, end_ms: float) -> list[Span]:
    """The attempts on the scale from `begin_ms` to `end_ms`."""
    unit = SCALE / max(1.0, end_ms - begin_ms)
    found = []
    for one in attempts:
        run = max(LEAST, (one.ended_ms - one.started_ms) * unit)
        run_x = min((one.started_ms - begin_ms) * unit, SCALE - run)
        x = min((one.waited_from_ms - begin_ms) * unit, run_x)
        found.append(Span(one, *(round(v, 1) for v in (x, run_x - x, run_x, run))))
    return found
