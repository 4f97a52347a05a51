"""Latency: from before emit to the handler's first line, at light load."""

from __future__ import annotations

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
    """Quantiles at RATE events a second, and the CPU time that an event costs its workers then."""
    tally = bench.tally()
    events = contestant.events or int(RATE * bench.seconds * 5)
    with (
        Remote(bench, contestant, url, tally) as remote,
        Crew(bench, contestant, url, tally) as crew,
    ):
        crew.wake(remote)
        remote.call("timed", 50, RATE)
        crew.settle()

        def take() -> Sample:
            before, pids = tally.size, crew.pids
            cpu = cpu_seconds(pids)
            remote.call("timed", events, RATE)
            if not tally.wait(before + events * contestant.fanout * LATENCY_BYTES, LONGEST_LAG):
                raise crew.failure(f"did not handle {events} events in {LONGEST_LAG:g} s more")
            cpu = cpu_seconds(pids) - cpu
            crew.settle()
            return {
                **quantiles(tally.latencies(before)),
                "CPU ms/event": cpu * 1000 / events,
            }

        yield take


def quantiles(seconds: Sequence[float]) -> Sample:
    ordered = sorted(seconds)
    return {
        name: ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000
        for name, share in SHARES.items()
    }
