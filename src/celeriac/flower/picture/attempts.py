"""The attempts of one handler at one event, each with its wait and its run, on one scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from celeriac.matrix import Cell, State

SCALE = 1000  # units from the emit to the end of the last attempt of any handler
LEAST = 4  # units of the shortest run, so that it is seen


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt; times are ms since the epoch. `result` is a state, or 'failed' for one that is
    run again. `ran_s` is None while it runs."""

    number: int
    result: str
    waited_from_ms: float
    started_ms: float
    ended_ms: float
    error: str = ""
    worker: str = ""

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
    free = float(emitted_ms)
    for failure in cell.failures:
        ended = max(float(failure.at), free)
        started = max(free, ended - failure.took / 1000)
        dead = cell.state is State.DEAD and failure is cell.failures[-1]
        found.append(
            Attempt(
                failure.attempt, "dead" if dead else "failed", free, started, ended,
                failure.error, failure.worker,
            )
        )  # fmt: skip
        free = ended
    known = found[-1].number if found else 0
    if cell.attempts <= known or cell.at_ms is None:
        return found
    at = max(float(cell.at_ms), free)
    if cell.state in (State.PROCESSED, State.SKIPPED, State.DEAD):
        started = max(free, at - (cell.took_us or 0) / 1000)
        found.append(Attempt(cell.attempts, cell.state.value, free, started, at))
    elif cell.state is State.RUNNING:
        found.append(Attempt(cell.attempts, "running", free, at, max(at, float(now_ms))))
    return found


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
