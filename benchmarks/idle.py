"""An idle worker: its memory and its CPU time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.bench import Bench
from benchmarks.measurement import Candidate, Sample, TakeSample
from benchmarks.remote import Remote
from benchmarks.workers import Workers, cpu_seconds, proportional_memory


@contextmanager
def rested(bench: Bench, candidate: Candidate, url: str) -> Iterator[TakeSample]:
    """After one event, with nothing to do: MiB (proportional) and % of one core."""
    run_counter = bench.run_counter()
    with (
        Remote(bench, candidate, url, run_counter) as remote,
        Workers(bench, candidate, url, run_counter) as workers,
    ):
        workers.wake(remote)
        watched = max(2.0, bench.seconds * 6)

        def take_sample() -> Sample:
            time.sleep(1)
            pids = workers.pids
            before, started = cpu_seconds(pids), time.monotonic()
            time.sleep(watched)
            used = cpu_seconds(pids) - before
            percent = 100 * used / (time.monotonic() - started)
            return {"MiB": proportional_memory(pids), "% CPU": percent}

        yield take_sample


@contextmanager
def laden(bench: Bench, candidate: Candidate, url: str) -> Iterator[TakeSample]:
    """MiB (proportional) of a worker, the peak of what it had while it worked through a backlog."""
    run_counter = bench.run_counter()
    events = candidate.events or (2000 if bench.quick else 20_000)
    with (
        Remote(bench, candidate, url, run_counter) as remote,
        Workers(bench, candidate, url, run_counter) as workers,
    ):
        workers.wake(remote)

        def take_sample() -> Sample:
            wanted, deadline = run_counter.size + events * candidate.fanout, time.monotonic() + 120
            workers.pause()
            remote.call("fill", events)
            workers.resume()
            peak = 0.0
            while run_counter.size < wanted:
                peak = max(peak, proportional_memory(workers.pids))
                if time.monotonic() > deadline:
                    raise workers.failure("did not handle all in time")
                time.sleep(0.05)
            workers.run_until_idle()
            return {"MiB": peak}

        yield take_sample
