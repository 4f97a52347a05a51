"""Latency: from before emit to the handler's first line, at light load."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from benchmarks.bench import Bench
from benchmarks.measurement import Candidate, Sample, TakeSample
from benchmarks.remote import Remote
from benchmarks.run_counter import LATENCY_BYTES
from benchmarks.workers import Workers, cpu_seconds

RATE = 100.0
LONGEST_LAG = 20.0
SHARES = {"p50 ms": 0.50, "p95 ms": 0.95, "p99 ms": 0.99}


@contextmanager
def measured(bench: Bench, candidate: Candidate, url: str) -> Iterator[TakeSample]:
    """Quantiles at RATE events a second, and the CPU time that an event costs its workers then.

    Who does not keep up is measured once: what did not arrive counts as late as it was waited for.
    """
    run_counter = bench.run_counter()
    events = candidate.events or int(RATE * bench.seconds * 5)
    with (
        Remote(bench, candidate, url, run_counter) as remote,
        Workers(bench, candidate, url, run_counter) as workers,
    ):
        workers.wake(remote)
        warmed = run_counter.size + 50 * candidate.fanout * LATENCY_BYTES
        remote.call("timed", 50, RATE)
        run_counter.wait(warmed, LONGEST_LAG)
        workers.run_until_idle()

        behind: Sample = {}

        def take_sample() -> Sample:
            nonlocal behind
            if behind:  # what it left undone would be measured again
                return behind
            before, pids = run_counter.size, workers.pids
            cpu, began = cpu_seconds(pids), time.monotonic()
            remote.call("timed", events, RATE)
            runs = events * candidate.fanout
            kept_up = run_counter.wait(before + runs * LATENCY_BYTES, LONGEST_LAG)
            cpu, waited = cpu_seconds(pids) - cpu, time.monotonic() - began
            workers.check()
            workers.run_until_idle()
            arrived = run_counter.latencies(before)
            sample = {
                **quantiles([*arrived, *[waited] * (runs - len(arrived))]),
                "CPU ms/event": cpu * 1000 / events,
                "% in time": 100 * len(arrived) / runs,
            }
            if not kept_up:
                behind = sample
            return sample

        yield take_sample


def quantiles(seconds: Sequence[float]) -> Sample:
    ordered = sorted(seconds)
    return {
        name: ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000
        for name, share in SHARES.items()
    }
