"""Processing: a backlog is written while the workers are stopped, then they drain it."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import fmean

from benchmarks.bench import Bench
from benchmarks.calibrate import events_for
from benchmarks.cpu_meter import CpuMeter
from benchmarks.measurement import Candidate, Sample, TakeSample
from benchmarks.remote import Remote
from benchmarks.workers import Workers

LONGEST_DRAIN = 180.0
FEWEST = 5_000  # runs in a sample, in as many turns as that takes
CALM = 0.1  # seconds that the machine has to itself after what came before


@contextmanager
def drained(bench: Bench, candidate: Candidate, url: str) -> Iterator[TakeSample]:
    """Handler runs a second, over all handlers and services."""
    run_counter, server = bench.run_counter(), bench.server_of(candidate)
    spent: dict[str, list[float]] = defaultdict(list)
    with (
        Remote(bench, candidate, url, run_counter) as remote,
        Workers(bench, candidate, url, run_counter) as workers,
    ):
        workers.wake(remote)

        def run(events: int) -> float:
            before = run_counter.size
            # Only for this long: a pause makes clients of some peers time out, and back off.
            workers.pause()
            remote.call("fill", events)
            time.sleep(CALM)
            meter = CpuMeter.start([server.pid], workers.pids)
            started = time.perf_counter()
            workers.resume()
            done = run_counter.wait(before + events * candidate.fanout, LONGEST_DRAIN)
            took = time.perf_counter() - started
            for unit, value in meter.stop(events * candidate.fanout, "run", "workers").items():
                spent[unit].append(value)
            workers.check()
            if not done:
                raise workers.failure(
                    f"handled {run_counter.size - before} of {events} in {took:.0f} s"
                )
            workers.run_until_idle()  # its last acknowledgements are not for the next sample
            return took

        events = candidate.events or events_for(bench.seconds, run)
        turns = max(1, FEWEST // (events * candidate.fanout)) if candidate.events else 1

        def take_sample() -> Sample:
            spent.clear()
            took = sum(run(events) for _ in range(turns))
            rate = turns * events * candidate.fanout / took
            return {"runs/s": rate, **{unit: fmean(values) for unit, values in spent.items()}}

        yield take_sample


@contextmanager
def perfect(bench: Bench, candidate: Candidate, url: str) -> Iterator[TakeSample]:
    """What processes that do nothing but the handler's own work would reach."""
    seconds = float(candidate.options["BENCH_WORK"])

    def take_sample() -> Sample:
        count = max(20, int(bench.seconds / seconds / 2))
        started = time.perf_counter()
        for _ in range(count):
            time.sleep(seconds)
        took = (time.perf_counter() - started) / count
        return {"runs/s": candidate.processes / took}

    yield take_sample


@contextmanager
def against_perfect(bench: Bench, candidate: Candidate, url: str) -> Iterator[TakeSample]:
    """`perfect` for the peer that is none, `drained` for those that are."""
    opened = perfect if candidate.peer == "nobody" else drained
    with opened(bench, candidate, url) as take_sample:
        yield take_sample
