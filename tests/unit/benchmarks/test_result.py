"""What the benchmark makes of samples, without measuring anything."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from xml.etree import ElementTree

import pytest

from benchmarks import chart, report
from benchmarks.bench import Bench
from benchmarks.calibrate import events_for
from benchmarks.curves import CURVES
from benchmarks.latency import quantiles
from benchmarks.measurement import Contestant, Goal, Measurement, Outcome, Take
from benchmarks.table import TABLE


@contextmanager
def never(bench: Bench, contestant: Contestant, url: str) -> Iterator[Take]:
    raise AssertionError("not to be opened")
    yield


def outcome(*goals: Goal) -> Outcome:
    contestants = (Contestant("ours", "celeriac"), Contestant("theirs", "celery"))
    measured = Measurement("speed", "Speed", "runs/s", never, contestants=contestants, goals=goals)
    return Outcome(measured)


def test_a_ratio_is_of_values_of_the_same_round() -> None:
    goal = Goal("ours : theirs", "ours", "theirs", at_least=2)
    found = outcome(goal)
    # Given a machine that was ten times slower in the second round
    found.samples = {
        "ours": [{"runs/s": 300.0}, {"runs/s": 33.0}],
        "theirs": [{"runs/s": 100.0}, {"runs/s": 10.0}],
    }
    assert found.ratios(goal) == [3.0, 3.3]
    row = ("ours : theirs", "≥ 2", "3.15", "3-3.3", "✓", "166 : 55 runs/s")
    assert report.goal_rows([found]) == [row]


def test_a_goal_without_a_rival_is_about_the_value() -> None:
    goal = Goal("bytes", "ours", at_most=150, unit="bytes")
    found = outcome(goal)
    found.samples = {"ours": [{"bytes": 151.0}]}
    assert report.goal_rows([found])[0][4] == "✗"


def test_a_peer_that_failed_is_shown_with_its_reason() -> None:
    found = outcome(Goal("ours : theirs", "ours", "theirs", at_least=2))
    found.samples = {"ours": [{"runs/s": 300.0}]}
    found.failed = {"theirs": "CrewError: no broker"}
    assert report.goal_rows([found])[0][2:] == ("failed", "", "✗", "theirs")
    assert "failed: CrewError: no broker" in report.text([found], {})


def test_json_is_one_line() -> None:
    found = outcome(Goal("ours : theirs", "ours", "theirs", at_least=2))
    found.samples = {"ours": [{"runs/s": 300.0}], "theirs": [{"runs/s": 100.0}]}
    told = report.as_json([found], {"date": "today"})
    assert "\n" not in told
    goal = json.loads(told)["goals"][0]
    assert {"value": 3.0, "low": 3.0, "high": 3.0, "met": True}.items() <= goal.items()


def test_the_number_of_events_fits_the_wished_time() -> None:
    assert events_for(0.5, lambda events: events / 2000) == 1000


def test_a_worker_that_takes_time_to_wake_is_measured_at_work() -> None:
    events = events_for(0.5, lambda events: 0.2 + events / 20_000)
    assert 0.3 <= 0.2 + events / 20_000 <= 0.85


def test_quantiles_are_values_that_were_measured() -> None:
    measured = quantiles([n / 1000 for n in range(100, 0, -1)])
    assert measured == {"p50 ms": 51, "p95 ms": 96, "p99 ms": 100}


def test_charts_are_well_formed() -> None:
    for drawn in (
        chart.bars("Speed <&>", "runs/s", [("celeriac", 12_000), ("Celery & co", 800)]),
        chart.line("Speed", "runs/s", [(1, 10), (10, 80), (100, 90)]),
    ):
        assert ElementTree.fromstring(drawn).tag.endswith("svg")


@pytest.mark.parametrize("measurement", [*TABLE, *CURVES], ids=lambda m: m.name)
def test_goals_are_about_contestants_that_take_part_in_quick_too(measurement: Measurement) -> None:
    there = {c.name for c in measurement.contestants if c.quick}
    assert len({c.name for c in measurement.contestants}) == len(measurement.contestants)
    for goal in measurement.goals:
        assert {goal.of, goal.to} - {None} <= there
