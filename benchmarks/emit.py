"""Emitting: a producer process, and nobody who handles."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.apart import apart
from benchmarks.bench import Bench
from benchmarks.calibrate import events_for
from benchmarks.measurement import Contestant, Sample, Take
from benchmarks.remote import Remote
from benchmarks.spent import Meter


@contextmanager
def emitted(bench: Bench, contestant: Contestant, url: str) -> Iterator[Take]:
    """Events a second that one process gets accepted. Who subscribed has groups, and no worker."""
    server = bench.server_of(contestant)
    with Remote(bench, contestant, url, bench.tally()) as remote:
        if "BENCH_HANDLERS" in contestant.options:
            remote.call("subscribe_all")

        def run(events: int) -> float:
            return remote.call(contestant.act, events)[0]

        events = contestant.events or events_for(bench.seconds / 2, run)

        def take() -> Sample:
            meter = Meter.start([server.pid], [remote.pid])
            with apart(server.pid, remote.pid):
                rate = events / run(events)
            return {"events/s": rate, **meter.stop(events, "event", "producer")}

        yield take
