"""Describe where a curve bends, and why, from the CPU time that was measured with it."""

from __future__ import annotations

import os
from itertools import pairwise
from math import log

from benchmarks.measurement import Outcome
from benchmarks.report import number

NOTABLE = 0.15  # a step that changes the figure by less is none


def sentences(outcome: Outcome) -> list[str]:
    """About the steepest fall and the steepest rise of the curve, where there are notable ones."""
    unit = outcome.measurement.unit
    points = [(name, outcome.median(name, unit) or 0.0) for name in outcome.samples]
    steps = [
        (log(after / before), (lower, before), (upper, after))
        for (lower, before), (upper, after) in pairwise(points)
        if before and after
    ]
    notable = [step for step in steps if abs(step[0]) > log(1 + NOTABLE)]
    if not notable:
        limits = _limits(outcome, points[-1][0])
        return [f"No step changes the rate by more than {NOTABLE:.0%}." + limits]
    chosen = dict.fromkeys((min(notable), max(notable)))
    return [_step(outcome, lower, upper) for _, lower, upper in chosen]


def _step(outcome: Outcome, lower: tuple[str, float], upper: tuple[str, float]) -> str:
    (a, before), (b, after) = lower, upper
    sentence = f"From {_count(a)} to {_count(b)} the rate "
    sentence += f"{'falls' if after < before else 'rises'} from {number(before)} "
    sentence += f"to {number(after)} {outcome.measurement.unit}"
    grown = []
    for unit in outcome.units:
        x, y = outcome.median(a, unit), outcome.median(b, unit)
        if "µs/" in unit and x and y:
            grown.append((abs(log(y / x)), f"{unit.partition(' ')[0]} from {x:.0f} to {y:.0f} µs"))
    if grown:
        grown.sort(reverse=True)
        sentence += f". CPU for each: {', '.join(text for _, text in grown)}"
    return sentence + "." + _limits(outcome, b)


def _limits(outcome: Outcome, name: str) -> str:
    """Return the CPU use at this point, and the limit that it shows."""
    shares = {u: outcome.median(name, u) for u in outcome.units if u.endswith(" %")}
    known = {unit.removesuffix(" %"): share for unit, share in shares.items() if share is not None}
    if not known:
        return ""
    cores = os.cpu_count() or 1
    shown = ", ".join(f"{process} {share:.0f} %" for process, share in known.items())
    sentence = f" CPU use at {_count(name)}: {shown} of one core"
    if known.get("server", 0) > 90:
        sentence += ": the server's one thread is the limit"
    elif sum(known.values()) > 85 * cores:
        sentence += f": all {cores} cores are busy"
    elif sum(known.values()) < 60 * cores:
        sentence += ": no process is busy all the time, so they wait for each other"
    return sentence + "."


def _count(name: str) -> str:
    return f"{int(name):,}"
