"""Run a measurement: prepare every candidate, then sample all in each round, in changing order."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack

from benchmarks.bench import Bench
from benchmarks.measurement import Measurement, Outcome, TakeSample

SPARING = 2  # rounds


def run(bench: Bench, measurement: Measurement) -> Outcome:
    """Return the samples of all candidates. A candidate that fails is excluded, with the reason."""
    outcome, started = Outcome(measurement), time.monotonic()
    chosen = [c for c in measurement.candidates if c.quick or not bench.quick]
    # Candidates without a goal are for orientation: two samples are enough.
    spared = {c.name for c in chosen if measurement.goals and not c.quick}
    samplers: dict[str, TakeSample] = {}
    bench.flush()
    bench.noise.begin()
    with ExitStack() as stack:
        for number, candidate in enumerate(chosen):
            note(f"{measurement.name}: preparing {candidate.name}")
            try:
                opened = measurement.open(bench, candidate, bench.database(candidate, number))
                samplers[candidate.name] = stack.enter_context(opened)
            except Exception as error:
                outcome.failed[candidate.name] = reason(error)
        for number in range(bench.rounds(measurement.rounds)):
            order = [name for name in samplers if number < SPARING or name not in spared]
            first = number % len(order) if order else 0
            for name in order[first:] + order[:first]:
                note(f"{measurement.name}: round {number + 1}, {name}")
                try:
                    outcome.samples.setdefault(name, []).append(
                        bench.noise.undisturbed(samplers[name])
                    )
                except Exception as error:
                    outcome.failed[name] = reason(error)
                    # Rounds are compared one by one, so incomplete samples are not used.
                    outcome.samples.pop(name, None)
                    del samplers[name]
    note("")
    outcome.seconds = time.monotonic() - started
    outcome.neighbours = bench.noise.shares
    return outcome


def reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[-1] if lines else ''}"[:300]


def note(text: str) -> None:
    """Show progress on one line of a terminal; elsewhere do nothing."""
    if sys.stderr.isatty():
        sys.stderr.write("\r\033[K" + text[:100])
        sys.stderr.flush()
