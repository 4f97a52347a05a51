"""Starting up: a command until it ends, a worker until it has handled what was waiting."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.bench import Bench
from benchmarks.commands import BIN
from benchmarks.measurement import Candidate, Sample, TakeSample
from benchmarks.remote import Remote
from benchmarks.workers import Workers


@contextmanager
def helped(bench: Bench, candidate: Candidate, url: str) -> Iterator[TakeSample]:
    """Seconds of `<peer> --help`; of an empty Python for the peer `python`."""
    if candidate.peer == "python":
        command = [sys.executable, "-c", "pass"]
    else:
        command = [str(BIN / candidate.peer), "--help"]

    def take_sample() -> Sample:
        started = time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True, timeout=30)
        return {"s": time.perf_counter() - started}

    yield take_sample


@contextmanager
def first_event(bench: Bench, candidate: Candidate, url: str) -> Iterator[TakeSample]:
    """Seconds from the start of the worker to the first run of its handler."""
    run_counter = bench.run_counter()
    with Remote(bench, candidate, url, run_counter) as remote:
        with Workers(bench, candidate, url, run_counter) as workers:
            workers.wake(remote)

        def take_sample() -> Sample:
            before = run_counter.size
            remote.call("single", 1)
            started = time.perf_counter()
            with Workers(bench, candidate, url, run_counter) as workers:
                if not run_counter.wait(before + 1, 30):
                    raise workers.failure("did not handle what was waiting")
                took = time.perf_counter() - started
                workers.run_until_idle()
            return {"s": took}

        yield take_sample
