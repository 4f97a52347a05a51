"""Decide how many workers a service needs. Pure.

The work that is left, divided by the time in which it should be finished. Scalers that count
messages ignore how long one takes.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from celeriac.errors import ConfigurationError
from celeriac.scale.load import HandlerLoad
from celeriac.scale.reasons import reasons_for

DRAIN_TARGET, COOLDOWN = 30.0, 300.0  # seconds
MAX_SECONDS = 86_400
MAX_NUMBER = 100_000


class ScaleTarget(msgspec.Struct, frozen=True, kw_only=True):
    """What the autoscaler should reach.

    Attributes:
        drain_target: Seconds in which the backlog should be finished.
        cooldown: Seconds for which a worker is kept if something is due within them.
        processes: Deliveries that one worker runs at the same time.
        max_workers: The largest answer; None for no limit.

    Raises:
        ConfigurationError: A value is out of range.
    """

    drain_target: float = DRAIN_TARGET
    cooldown: float = COOLDOWN
    processes: int = 1
    max_workers: int | None = None

    def __post_init__(self) -> None:
        _check("drain_target", self.drain_target, 0.1, MAX_SECONDS)
        _check("cooldown", self.cooldown, 0, MAX_SECONDS)
        _check("processes", self.processes, 1, MAX_NUMBER)
        if self.max_workers is not None:
            _check("max", self.max_workers, 0, MAX_NUMBER)

    @property
    def drain_us(self) -> int:
        return round(self.drain_target * 1e6)


def _check(name: str, value: float, smallest: float, largest: float) -> None:
    if not smallest <= value <= largest:
        raise ConfigurationError(
            f"{name} is out of range: {value:g}. Give a value from {smallest:g} to {largest:g}."
        )


class DueTick(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule with a tick within the cooldown. `name` is `service:name`."""

    name: str
    due_ms: int
    is_overdue: bool = False


class HandlerWork(msgspec.Struct, frozen=True, kw_only=True):
    """What one handler adds. `work_s` are the seconds of its backlog that more workers shorten."""

    load: HandlerLoad
    backlog: int
    work_s: float


class WorkersWanted(msgspec.Struct, frozen=True, kw_only=True):
    """How many workers a service needs.

    Attributes:
        workers: The answer.
        uncapped: The answer without `max_workers`.
        work_s: Seconds of work, all handlers together.
        handlers: The handlers of the service.
        ticks: Schedules with a tick within the cooldown.
        reasons: The calculation, and what it could not take into account. A sentence each.
    """

    service: str
    workers: int
    uncapped: int
    work_s: float
    target: ScaleTarget
    handlers: tuple[HandlerWork, ...]
    ticks: tuple[DueTick, ...]
    reasons: tuple[str, ...]


def workers_wanted(
    service: str,
    loads: Sequence[HandlerLoad],
    target: ScaleTarget,
    ticks: Sequence[DueTick] = (),
) -> WorkersWanted:
    """Return the number of workers that finish the backlog within the drain target.

    At least one if something may run within the cooldown.
    """
    # Whole microseconds: a rounding error must not add a worker.
    works = [load.work_us(target.drain_us) for load in loads]
    needed = -(-sum(works) // (target.drain_us * target.processes))
    is_kept = bool(ticks) or any(load.needs_worker for load in loads)
    uncapped = max(needed, int(is_kept))
    workers = uncapped if target.max_workers is None else min(uncapped, target.max_workers)
    answer = WorkersWanted(
        service=service,
        workers=workers,
        uncapped=uncapped,
        work_s=sum(works) / 1e6,
        target=target,
        handlers=tuple(
            HandlerWork(load=load, backlog=load.backlog, work_s=work_us / 1e6)
            for load, work_us in zip(loads, works, strict=True)
        ),
        ticks=tuple(ticks),
        reasons=(),
    )
    return msgspec.structs.replace(answer, reasons=tuple(reasons_for(answer)))


def unknown_service(service: str, workers: int, target: ScaleTarget) -> WorkersWanted:
    """Return the answer for a service that the bus does not have: this number of workers."""
    return WorkersWanted(
        service=service,
        workers=workers,
        uncapped=workers,
        work_s=0.0,
        target=target,
        handlers=(),
        ticks=(),
        reasons=("no handler of the service is registered; a worker registers them",),
    )
