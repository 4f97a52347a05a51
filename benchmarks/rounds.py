"""Turns: every contestant is prepared, then all are sampled in each round, in changing order."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack

from benchmarks.bench import Bench
from benchmarks.measurement import Measurement, Outcome, Take

SPARING = 2  # rounds


def run(bench: Bench, measurement: Measurement) -> Outcome:
    """Samples of all contestants. One that fails is out, with the reason, and the rest go on."""
    outcome, started = Outcome(measurement), time.monotonic()
    chosen = [c for c in measurement.contestants if c.quick or not bench.quick]
    # Those that no goal is about are there for orientation: two samples say enough.
    spared = {c.name for c in chosen if measurement.goals and not c.quick}
    takes: dict[str, Take] = {}
    bench.flush()
    bench.neighbours.begin()
    with ExitStack() as stack:
        for number, contestant in enumerate(chosen):
            note(f"{measurement.name}: preparing {contestant.name}")
            try:
                opened = measurement.open(bench, contestant, bench.database(contestant, number))
                takes[contestant.name] = stack.enter_context(opened)
            except Exception as error:
                outcome.failed[contestant.name] = reason(error)
        for number in range(bench.rounds(measurement.rounds)):
            order = [name for name in takes if number < SPARING or name not in spared]
            turn = number % len(order) if order else 0
            for name in order[turn:] + order[:turn]:
                note(f"{measurement.name}: round {number + 1}, {name}")
                try:
                    outcome.samples.setdefault(name, []).append(
                        bench.neighbours.undisturbed(takes[name])
                    )
                except Exception as error:
                    outcome.failed[name] = reason(error)
                    # Rounds are compared one by one, so what is not whole is not used.
                    outcome.samples.pop(name, None)
                    del takes[name]
    note("")
    outcome.seconds = time.monotonic() - started
    outcome.neighbours = bench.neighbours.shares
    return outcome


def reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[-1] if lines else ''}"[:300]


def note(text: str) -> None:
    """A live line for whoever waits; nothing where nobody does."""
    if sys.stderr.isatty():
        sys.stderr.write("\r\033[K" + text[:100])
        sys.stderr.flush()
