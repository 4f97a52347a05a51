"""The attempts of one handler at one event, with waiting and running times on one scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from celeriac.dead_letter import restart_text
from celeriac.delivery import Restart
from celeriac.tracking import Cell, DeliveryState

SCALE = 1000  # units from the emit to the end of the last attempt of any handler
LEAST = 4  # minimum units of a run, so that it is visible


@dataclass(frozen=True, slots=True)
class AttemptView:
    """One attempt; times are ms since the epoch.

    `result` is a state, or 'failed' for an attempt that is retried. `ran_s` is None while it runs.
    `begun_by` describes who redrove or replayed the delivery before the attempt, the first of a
    later `life`.
    """

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
        """The identity of the attempt among all attempts of the delivery."""
        return f"{self.life}.{self.number}"

    @property
    def waited_s(self) -> float:
        return max(0.0, self.started_ms - self.waited_from_ms) / 1000

    @property
    def ran_s(self) -> float:
        return max(0.0, self.ended_ms - self.started_ms) / 1000


def attempts_of(cell: Cell, emitted_ms: int, now_ms: int) -> list[AttemptView]:
    """Return the failed attempts, and the running or the last one, as far as they are known.

    If a worker's clock is behind the server's, an attempt ends when its wait began.
    """
    attempts: list[AttemptView] = []
    free, by = float(emitted_ms), ""
    restarts = {restart.life: restart for restart in cell.restarts if not restart.edited}
    life = max(restarts, default=1)
    for number in range(1, life + 1):
        restart = restarts.get(number)
        if restart is not None:
            if restart.ended in (DeliveryState.PROCESSED, DeliveryState.SKIPPED):
                attempts.append(_ended(restart, free, by))
            free, by = max(free, float(restart.at)), restart_text(restart)
        for failure in cell.failures:
            if failure.life != number:
                continue
            ended = max(float(failure.at), free)
            started = max(free, ended - failure.took / 1000)
            dead = cell.state is DeliveryState.DEAD and failure is cell.failures[-1]
            attempts.append(
                AttemptView(
                    failure.attempt, "dead" if dead else "failed", free, started, ended,
                    failure.error, failure.worker, failure.life, by,
                )
            )  # fmt: skip
            free, by = ended, ""
    known = attempts[-1].number if attempts and attempts[-1].life == life else 0
    if cell.attempts <= known or cell.at_ms is None:
        return attempts
    at, worker = max(float(cell.at_ms), free), cell.worker or ""
    if cell.state in (DeliveryState.PROCESSED, DeliveryState.SKIPPED, DeliveryState.DEAD):
        started = max(free, at - (cell.took_us or 0) / 1000)
        attempts.append(
            AttemptView(
                cell.attempts, cell.state.value, free, started, at,
                worker=worker, life=life, begun_by=by,
            )
        )  # fmt: skip
    elif cell.state is DeliveryState.RUNNING:
        end = max(at, float(now_ms))
        attempts.append(
            AttemptView(
                cell.attempts, "running", free, at, end, worker=worker, life=life, begun_by=by
            )
        )
    return attempts


def _ended(restart: Restart, free: float, by: str) -> AttemptView:
    """Return the last attempt of the life before a restart, unless it failed."""
    ended = max(float(restart.ended_at or restart.at), free)
    started = max(free, ended - restart.took / 1000)
    return AttemptView(
        restart.attempts, restart.ended, free, started, ended, life=restart.life - 1, begun_by=by
    )


@dataclass(frozen=True, slots=True)
class Span:
    """The position of an attempt on the scale: its wait begins at `x`, its run at `run_x`."""

    attempt: AttemptView
    x: float
    wait: float
    run_x: float
    run: float


def spans(attempts: Sequence[AttemptView], begin_ms: int, end_ms: float) -> list[Span]:
    """Return the attempts on the scale from `begin_ms` to `end_ms`."""
    unit = SCALE / max(1.0, end_ms - begin_ms)
    spans_ = []
    for attempt in attempts:
        run = max(LEAST, (attempt.ended_ms - attempt.started_ms) * unit)
        run_x = min((attempt.started_ms - begin_ms) * unit, SCALE - run)
        x = min((attempt.waited_from_ms - begin_ms) * unit, run_x)
        spans_.append(Span(attempt, *(round(v, 1) for v in (x, run_x - x, run_x, run))))
    return spans_
