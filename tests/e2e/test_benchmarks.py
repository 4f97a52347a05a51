"""The benchmark runs. It reports, and is not judged by time."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import emit, latency, lookup, process, report
from benchmarks.bench import Bench
from benchmarks.measurement import Candidate, Measurement, Open
from benchmarks.rounds import run
from benchmarks.saved_result import load


@pytest.fixture
def bench() -> Bench:
    return Bench(quick=True, rounds=2, seconds=0.02)


def measurement(open: Open, *candidates: Candidate) -> Measurement:
    return Measurement("smoke", "Smoke", "1/s", open, candidates=candidates)


RAW = Candidate("raw", "raw", events=100)
OURS = Candidate("celeriac", "celeriac", events=100)


def test_producers_take_turns_and_one_that_cannot_start_is_told(bench: Bench) -> None:
    absent = Candidate("absent", "no_such_peer", events=100)
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
        assert outcome.units == ["p50 ms", "p95 ms", "p99 ms", "CPU ms/event", "% in time"]
    assert not bench.directory.exists()


def test_explaining_the_oldest_event_and_an_unknown_one_is_measured(bench: Bench) -> None:
    with bench:
        outcome = run(bench, measurement(lookup.explained, OURS))
    assert outcome.failed == {}
    assert ["ms", "unknown ms"] == outcome.units


@pytest.mark.timeout(420)
def test_the_quick_benchmark_survives_peers_that_are_missing(tmp_path: Path) -> None:
    """As `dev.py bench --quick --json`, but in one short round, and without what takes longest: one
    line, with a figure in every measurement. The peers are installed for `dev.py bench` alone; here
    they fail."""
    command = [sys.executable, "-m", "benchmarks", "--quick", "--json"]
    command += ["--rounds", "1", "--seconds", "0.02"]
    for name in (
        "emit", "bulk", "process", "contracts-emit", "contracts", "latency", "backlog", "matrix",
        "start", "command",
    ):  # fmt: skip
        command += ["--only", name]
    said = subprocess.run(command, capture_output=True, text=True, timeout=400)
    assert said.returncode == 0, said.stderr
    [line] = said.stdout.splitlines()
    measured = json.loads(line)["measured"]
    for name, found in measured.items():
        failed = {who: why for who, why in found["failed"].items() if "No module" not in why}
        assert not failed, f"{name}: {failed}"
        assert found["samples"], name

    result = tmp_path / "result.json"
    result.write_text(said.stdout)
    outcomes, facts = load(result)
    assert [o.measurement.name for o in outcomes] == list(measured)
    assert "emit : raw XADD" in report.text(outcomes, facts)
