"""The benchmark runs. It reports, and is not judged by time."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import emit, latency, lookup, process, remote, report, workers
from benchmarks.__main__ import main
from benchmarks.bench import Bench
from benchmarks.measurement import Candidate, Measurement, Open
from benchmarks.rounds import run
from benchmarks.saved_result import load
from celeriac.testing.process_guard import GuardedProcess, guarded_popen
from devtools.fork_server import fork_server


@pytest.fixture
def bench() -> Bench:
    return Bench(quick=True, rounds=2, seconds=0.02)


def measurement(open: Open, *candidates: Candidate) -> Measurement:
    return Measurement("smoke", "Smoke", "1/s", open, candidates=candidates)


RAW = Candidate("raw", "raw", events=100)
OURS = Candidate("celeriac", "celeriac", events=100)


def test_producers_alternate_and_one_that_cannot_start_is_reported(bench: Bench) -> None:
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


@pytest.fixture
def started_as_forks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Producers and workers are forks of a process that has imported Celery: a quarter of the CPU
    time. Those of peers that are missing have commands of their own."""

    def start(argv: Sequence[str], **options: Any) -> GuardedProcess:
        is_python = argv[0] == sys.executable
        return fork_server().popen(argv, **options) if is_python else guarded_popen(argv, **options)

    for module in (remote, workers):
        monkeypatch.setattr(module, "guarded_popen", start)
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)


@pytest.mark.timeout(420)
def test_the_quick_benchmark_survives_peers_that_are_missing(
    tmp_path: Path, is_full: bool, started_as_forks: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """As `dev.py bench --quick --json`, but in one short round, and without what takes longest: one
    line, with a figure in every measurement. The peers are installed for `dev.py bench` alone; here
    they fail."""
    names = ["emit", "bulk", "process", "latency", "backlog", "matrix"]
    if is_full:  # the same as `emit` and `process`, of other candidates
        names += ["contracts-emit", "contracts"]
    assert main(quickly(names)) == 0
    line = capsys.readouterr().out
    every_measurement_has_figures(line, names)

    result = tmp_path / "result.json"
    result.write_text(line)
    outcomes, facts = load(result)
    assert [o.measurement.name for o in outcomes] == names
    assert "emit : raw XADD" in report.text(outcomes, facts)


def test_starting_is_measured_by_processes_that_import_all_themselves() -> None:
    """The benchmark too is a process of its own."""
    names = ["start", "command"]
    said = subprocess.run(
        [sys.executable, "-m", "benchmarks", *quickly(names)],
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert said.returncode == 0, said.stderr
    every_measurement_has_figures(said.stdout, names)


def quickly(names: Sequence[str]) -> list[str]:
    """Return the arguments for one short round of these measurements."""
    options = ["--quick", "--json", "--rounds", "1", "--seconds", "0.02"]
    return [*options, *(word for name in names for word in ("--only", name))]


def every_measurement_has_figures(printed: str, names: Sequence[str]) -> None:
    [line] = printed.splitlines()
    measured = json.loads(line)["measured"]
    assert list(measured) == names
    for name, found in measured.items():
        failed = {who: why for who, why in found["failed"].items() if "No module" not in why}
        assert not failed, f"{name}: {failed}"
        assert found["samples"], name
