"""Emit: a producer process, without any handler."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.affinity import separate_cores
from benchmarks.bench import Bench
from benchmarks.calibrate import events_for
from benchmarks.cpu_meter import CpuMeter
from benchmarks.measurement import Candidate, Sample, TakeSample
from benchmarks.remote import Remote


@contextmanager
def emitted(bench: Bench, candidate: Candidate, url: str) -> Iterator[TakeSample]:
    """Events a second that one process gets accepted. Who subscribed has groups, and no worker."""
    server = bench.server_of(candidate)
    with Remote(bench, candidate, url, bench.run_counter()) as remote:
        if "BENCH_HANDLERS" in candidate.options:
            remote.call("subscribe_all")

        def run(events: int) -> float:
            return remote.call(candidate.mode, events)[0]

        events = candidate.events or events_for(bench.seconds / 2, run)

        def take_sample() -> Sample:
            meter = CpuMeter.start([server.pid], [remote.pid])
            with separate_cores(server.pid, remote.pid):
                rate = events / run(events)
            return {"events/s": rate, **meter.stop(events, "event", "producer")}

        yield take_sample


@contextmanager
def emitted_anew(bench: Bench, candidate: Candidate, url: str) -> Iterator[TakeSample]:
    """What `emitted` samples, by a new process each time, for differences of a few per cent.

    Processes with the same code differ by 2 %, which more samples of the same ones do not show.
    """

    def take_sample() -> Sample:
        with emitted(bench, candidate, url) as sampled:
            return sampled()

    yield take_sample
