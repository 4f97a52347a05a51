"""Starting up: a command until it ends, a worker until it has handled what was waiting."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.bench import Bench
from benchmarks.commands import BIN
from benchmarks.crew import Crew
from benchmarks.measurement import Contestant, Sample, Take
from benchmarks.remote import Remote


@contextmanager
def helped(bench: Bench, contestant: Contestant, url: str) -> Iterator[Take]:
    """Seconds of `<peer> --help`; of an empty Python for the peer `python`."""
    if contestant.peer == "python":
        command = [sys.executable, "-c", "pass"]
    else:
        command = [str(BIN / contestant.peer), "--help"]

    def take() -> Sample:
        started = time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True, timeout=30)
        return {"s": time.perf_counter() - started}

    yield take


@contextmanager
def first_event(bench: Bench, contestant: Contestant, url: str) -> Iterator[Take]:
    """Seconds from the start of the worker to the first run of its handler."""
    tally = bench.tally()
    with Remote(bench, contestant, url, tally) as remote:
        with Crew(bench, contestant, url, tally) as crew:
            crew.wake(remote)

        def take() -> Sample:
            before = tally.size
            remote.call("one", 1)
            started = time.perf_counter()
            with Crew(bench, contestant, url, tally) as crew:
                if not tally.wait(before + 1, 30):
                    raise crew.failure("did not handle what was waiting")
                took = time.perf_counter() - started
                crew.run_until_idle()
            return {"s": took}

        yield take
