"""Processing: a backlog is written while the workers stand still, then they drain it."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import fmean

from benchmarks.bench import Bench
from benchmarks.calibrate import events_for
from benchmarks.crew import Crew
from benchmarks.measurement import Contestant, Sample, Take
from benchmarks.remote import Remote
from benchmarks.spent import Meter

LONGEST_DRAIN = 180.0
FEWEST = 5_000  # runs in a sample, in as many turns as that takes
CALM = 0.1  # seconds that the machine has to itself after what came before


@contextmanager
def drained(bench: Bench, contestant: Contestant, url: str) -> Iterator[Take]:
    """Handler runs a second, over all handlers and services."""
    tally, server = bench.tally(), bench.server_of(contestant)
    spent: dict[str, list[float]] = defaultdict(list)
    with (
        Remote(bench, contestant, url, tally) as remote,
        Crew(bench, contestant, url, tally) as crew,
    ):
        crew.wake(remote)

        def run(events: int) -> float:
            before = tally.size
            # Only for this long: a pause makes clients of some peers time out, and back off.
            crew.pause()
            remote.call("fill", events)
            time.sleep(CALM)
            meter = Meter.start([server.pid], crew.pids)
            started = time.perf_counter()
            crew.resume()
            done = tally.wait(before + events * contestant.fanout, LONGEST_DRAIN)
            took = time.perf_counter() - started
            for unit, value in meter.stop(events * contestant.fanout, "run", "workers").items():
                spent[unit].append(value)
            crew.check()
            if not done:
                raise crew.failure(f"handled {tally.size - before} of {events} in {took:.0f} s")
            crew.run_until_idle()  # its last acknowledgements are not for the next sample
            return took

        events = contestant.events or events_for(bench.seconds, run)
        turns = max(1, FEWEST // (events * contestant.fanout)) if contestant.events else 1

        def take() -> Sample:
            spent.clear()
            took = sum(run(events) for _ in range(turns))
            rate = turns * events * contestant.fanout / took
            return {"runs/s": rate, **{unit: fmean(values) for unit, values in spent.items()}}

        yield take


@contextmanager
def perfect(bench: Bench, contestant: Contestant, url: str) -> Iterator[Take]:
    """What processes that do nothing but the handler's own work would reach."""
    seconds = float(contestant.options["BENCH_WORK"])

    def take() -> Sample:
        count = max(20, int(bench.seconds / seconds / 2))
        started = time.perf_counter()
        for _ in range(count):
            time.sleep(seconds)
        took = (time.perf_counter() - started) / count
        return {"runs/s": contestant.processes / took}

    yield take


@contextmanager
def against_perfect(bench: Bench, contestant: Contestant, url: str) -> Iterator[Take]:
    """`perfect` for the peer that is none, `drained` for those that are."""
    opened = perfect if contestant.peer == "nobody" else drained
    with opened(bench, contestant, url) as take:
        yield take
