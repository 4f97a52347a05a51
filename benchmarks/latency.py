"""Latency: from before emit to the handler's first line, at light load."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from benchmarks.bench import Bench
from benchmarks.crew import Crew, cpu_seconds
from benchmarks.measurement import Contestant, Sample, Take
from benchmarks.remote import Remote
from benchmarks.tally import LATENCY_BYTES

RATE = 100.0
LONGEST_LAG = 20.0
SHARES = {"p50 ms": 0.50, "p95 ms": 0.95, "p99 ms": 0.99}


@contextmanager
def measured(bench: Bench, contestant: Contestant, url: str) -> Iterator[Take]:
    """Quantiles at RATE events a second, and the CPU time that an event costs its workers then.

    Who does not keep up is measured once: what did not arrive counts as late as it was waited for.
    """
    tally = bench.tally()
    events = contestant.events or int(RATE * bench.seconds * 5)
    with (
        Remote(bench, contestant, url, tally) as remote,
        Crew(bench, contestant, url, tally) as crew,
    ):
        crew.wake(remote)
        warmed = tally.size + 50 * contestant.fanout * LATENCY_BYTES
        remote.call("timed", 50, RATE)
        tally.wait(warmed, LONGEST_LAG)
        crew.run_until_idle()

        behind: Sample = {}

        def take() -> Sample:
            nonlocal behind
            if behind:  # what it left undone would be measured again
                return behind
            before, pids = tally.size, crew.pids
            cpu, began = cpu_seconds(pids), time.monotonic()
            remote.call("timed", events, RATE)
            runs = events * contestant.fanout
            kept_up = tally.wait(before + runs * LATENCY_BYTES, LONGEST_LAG)
            cpu, waited = cpu_seconds(pids) - cpu, time.monotonic() - began
            crew.check()
            crew.run_until_idle()
            arrived = tally.latencies(before)
            sample = {
                **quantiles([*arrived, *[waited] * (runs - len(arrived))]),
                "CPU ms/event": cpu * 1000 / events,
                "% in time": 100 * len(arrived) / runs,
            }
            if not kept_up:
                behind = sample
            return sample

        yield take


def quantiles(seconds: Sequence[float]) -> Sample:
    ordered = sorted(seconds)
    return {
        name: ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000
        for name, share in SHARES.items()
    }
