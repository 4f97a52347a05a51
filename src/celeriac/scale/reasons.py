"""Explain a number of workers, a sentence for each reason."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from celeriac.scale.load import HandlerLoad

if TYPE_CHECKING:
    from celeriac.scale.wanted import ScaleTarget, WorkersWanted


def reasons_for(answer: WorkersWanted) -> Iterator[str]:
    """Yield the calculation, then what decided it or limits it."""
    target = answer.target
    if answer.work_s:
        exact = answer.work_s / target.drain_target / target.processes
        yield (
            f"{answer.work_s:,.4g} s of work / {target.drain_target:g} s drain target / "
            f"{target.processes} per worker = {exact:,.3g} workers"
        )
    for work in answer.handlers:
        yield from _of_handler(work.load, target)
    for tick in answer.ticks:
        if tick.is_overdue:
            yield f"{tick.name}: its tick is overdue; if no code has this schedule, remove it"
        else:
            yield f"{tick.name}: a tick is due within {target.cooldown:g} s"
    if answer.workers < answer.uncapped:
        yield f"limited to {answer.workers:,} of {answer.uncapped:,} workers"
    if not answer.uncapped:
        yield f"nothing runs within {target.cooldown:g} s"


def _of_handler(load: HandlerLoad, target: ScaleTarget) -> Iterator[str]:
    name = load.handler
    if not load.may_start:
        if waiting := load.unfinished - load.running:
            why = "paused" if load.is_in_code else "no running worker has its code"
            yield f"{name}: {why}; {waiting:,} deliveries wait"
        return
    if load.is_unknown:
        yield f"{name}: found none of its events among the entries read; a worker reads on"
    if load.is_on_trial:
        if load.backlog:
            yield f"{name}: its circuit is not closed; one delivery is tried"
        return
    if load.is_estimate:
        yield f"{name}: {load.ahead:,} events ahead is an estimate"
    if load.backlog and not load.mean_us:
        yield f"{name}: run time not measured yet; one worker measures it"
    elif load.is_limited(target.drain_us):
        yield f"{name}: {_limits(load)} limits how many workers help"
    if load.later and not load.backlog:
        yield f"{name}: {load.later:,} due within {target.cooldown:g} s"


def _limits(load: HandlerLoad) -> str:
    limits = []
    if load.concurrency is not None:
        limits.append(f"concurrency={load.concurrency}")
    if load.per_second is not None:
        limits.append(f"rate_limit={load.per_second:g}/s")
    return " and ".join(limits)
