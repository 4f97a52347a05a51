"""An idle worker: its memory, and the CPU it takes for nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.bench import Bench
from benchmarks.crew import Crew, cpu_seconds, proportional_memory
from benchmarks.measurement import Contestant, Sample, Take
from benchmarks.remote import Remote


@contextmanager
def rested(bench: Bench, contestant: Contestant, url: str) -> Iterator[Take]:
    """After one event, with nothing to do: MiB (proportional) and % of one core."""
    tally = bench.tally()
    with (
        Remote(bench, contestant, url, tally) as remote,
        Crew(bench, contestant, url, tally) as crew,
    ):
        crew.wake(remote)
        watched = max(2.0, bench.seconds * 6)

        def take() -> Sample:
            time.sleep(1)
            pids = crew.pids
            before, started = cpu_seconds(pids), time.monotonic()
            time.sleep(watched)
            used = cpu_seconds(pids) - before
            percent = 100 * used / (time.monotonic() - started)
            return {"MiB": proportional_memory(pids), "% CPU": percent}

        yield take


@contextmanager
def laden(bench: Bench, contestant: Contestant, url: str) -> Iterator[Take]:
    """MiB (proportional) of a worker, the most of what it had while it worked through a backlog."""
    tally = bench.tally()
    events = contestant.events or (2000 if bench.quick else 20_000)
    with (
        Remote(bench, contestant, url, tally) as remote,
        Crew(bench, contestant, url, tally) as crew,
    ):
        crew.wake(remote)

        def take() -> Sample:
            wanted, deadline = tally.size + events * contestant.fanout, time.monotonic() + 120
            crew.pause()
            remote.call("fill", events)
            crew.resume()
            most = 0.0
            while tally.size < wanted:
                most = max(most, proportional_memory(crew.pids))
                if time.monotonic() > deadline:
                    raise crew.failure("did not handle all in time")
                time.sleep(0.05)
            crew.run_until_idle()
            return {"MiB": most}

        yield take
