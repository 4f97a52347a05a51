"""The benchmark runs. It reports, and is not judged by time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks import emit, latency, process, report
from benchmarks.bench import Bench
from benchmarks.measurement import Contestant, Measurement, Open
from benchmarks.rounds import run


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench(quick=True, rounds=2, seconds=0.02)


def measurement(open: Open, *contestants: Contestant) -> Measurement:
    return Measurement("smoke", "Smoke", "1/s", open, contestants=contestants)


RAW = Contestant("raw", "raw", events=100)
OURS = Contestant("celeriac", "celeriac", events=100)


def test_producers_take_turns_and_one_that_cannot_start_is_told(bench: Bench) -> None:
    absent = Contestant("absent", "no_such_peer", events=100)
    with bench:
        outcome = run(bench, measurement(emit.emitted, RAW, absent, OURS))
    assert list(outcome.samples) == ["raw", "celeriac"]
    assert all(value > 0 for value in outcome.values("celeriac", "events/s"))
    assert "no_such_peer" in outcome.failed["absent"]
    assert "absent" in report.text([outcome], {})


def test_workers_drain_a_backlog_and_leave_nothing(bench: Bench) -> None:
    with bench:
        outcome = run(bench, measurement(process.drained, OURS))
        assert outcome.failed == {}
        assert len(outcome.values("celeriac", "runs/s")) == 2
        outcome = run(bench, measurement(latency.measured, replace(OURS, events=20)))
        assert outcome.failed == {}
        assert outcome.units == ["p50 ms", "p95 ms", "p99 ms", "CPU ms/event"]
    assert not bench.directory.exists()
