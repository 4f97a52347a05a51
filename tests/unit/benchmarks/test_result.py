"""What the benchmark makes of samples, without measuring anything."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import chart, report
from benchmarks.bench import Bench
from benchmarks.calibrate import events_for
from benchmarks.curves import CURVES
from benchmarks.knee import sentences
from benchmarks.latency import quantiles
from benchmarks.measurement import Candidate, Goal, Measurement, Outcome, TakeSample
from benchmarks.publish import FIGURES, README, with_figures
from benchmarks.saved_result import SavedResults, load
from benchmarks.table import TABLE


@contextmanager
def never(bench: Bench, candidate: Candidate, url: str) -> Iterator[TakeSample]:
    raise AssertionError("not to be opened")
    yield


def outcome(*goals: Goal) -> Outcome:
    candidates = (Candidate("ours", "celeriac"), Candidate("theirs", "celery"))
    measured = Measurement("speed", "Speed", "runs/s", never, candidates=candidates, goals=goals)
    return Outcome(measured)


def test_a_ratio_is_of_values_of_the_same_round() -> None:
    goal = Goal("ours : theirs", "ours", "theirs", minimum=2)
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
    goal = Goal("bytes", "ours", maximum=150, unit="bytes")
    found = outcome(goal)
    found.samples = {"ours": [{"bytes": 151.0}]}
    assert report.goal_rows([found])[0][4] == "✗"


def test_a_peer_that_failed_is_shown_with_its_reason() -> None:
    found = outcome(Goal("ours : theirs", "ours", "theirs", minimum=2))
    found.samples = {"ours": [{"runs/s": 300.0}]}
    found.failed = {"theirs": "WorkersFailed: no broker"}
    assert report.goal_rows([found])[0][2:] == ("failed", "", "✗", "theirs")
    assert "failed: WorkersFailed: no broker" in report.text([found], {})


def test_json_is_one_line() -> None:
    found = outcome(Goal("ours : theirs", "ours", "theirs", minimum=2))
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
    there = {c.name for c in measurement.candidates if c.quick}
    assert len({c.name for c in measurement.candidates}) == len(measurement.candidates)
    for goal in measurement.goals:
        assert {goal.of, goal.to} - {None} <= there


def curve(**values: tuple[float, float, float]) -> Outcome:
    """A curve by name: (runs/s, server µs/run, server %)."""
    candidates = tuple(Candidate(name[1:], "celeriac") for name in values)
    found = Outcome(Measurement("by-x", "By x", "runs/s", never, candidates=candidates))
    for name, (rate, cost, busy) in values.items():
        sample = {"runs/s": rate, "server µs/run": cost, "server %": busy, "workers %": 50.0}
        found.samples[name[1:]] = [sample]
    return found


def test_a_bend_is_explained_by_what_was_measured() -> None:
    [said] = sentences(curve(n1=(1000, 20, 30), n10=(1000, 20, 30), n100=(400, 55, 96)))
    assert said.startswith("From 10 to 100 the rate falls from 1,000 to 400 runs/s")
    assert "server from 20 to 55 µs" in said
    assert "the server's one thread is the limit" in said


def test_a_curve_that_does_not_bend_is_reported() -> None:
    [said] = sentences(curve(n1=(1000, 20, 30), n10=(1050, 20, 30)))
    assert said.startswith("No step changes the rate by more than 15%")


def test_a_printed_result_is_read_again(tmp_path: Path) -> None:
    name = TABLE[0].name
    found = Outcome(TABLE[0], {"celeriac": [{"events/s": 3.0}]}, {"huey": "gone"})
    file = tmp_path / "result.json"
    file.write_text("bench: noise\n" + report.as_json([found], {"date": "today"}) + "\n")
    [again], facts = load(file)
    assert again.measurement.name == name
    assert again.samples == found.samples
    assert again.failed == found.failed
    assert facts == {"date": "today"}


def test_a_store_is_added_to_and_lists_its_results(tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    last, first = (
        Outcome(m, {"celeriac": [{m.unit: 3.0}]}, seconds=60.0) for m in (TABLE[1], TABLE[0])
    )
    SavedResults(file).add(last, {"date": "yesterday"})
    SavedResults(file).add(replace(first, failed={"huey": "gone"}), {"date": "today"})
    store = SavedResults(file)
    assert [TABLE[0].name, TABLE[1].name] == [one.measurement.name for one in store.outcomes]
    assert TABLE[1].name in store
    assert TABLE[0].name not in store, "a candidate failed: it is to be measured again"
    assert {"date": "today", "took": "2.0 minutes"}.items() <= store.facts.items()


def test_the_readme_has_the_goals_with_a_headline() -> None:
    goal = Goal("a : b", "ours", "theirs", minimum=2, headline="Processed, against theirs")
    found = outcome(goal, Goal("other", "ours", maximum=2))
    found.samples = {"ours": [{"runs/s": 300.0}], "theirs": [{"runs/s": 100.0}]}
    readme = "a\n<!-- figures -->\nold\n<!-- /figures -->\nb\n"
    written = with_figures(readme, [found], {"date": "2026-11-27 04:00 UTC"})
    assert written.startswith("a\n<!-- figures -->\nMeasured on 2026-11-27 in one run")
    assert "| Processed, against theirs | 3 × | ≥ 2 ✓ |" in written
    assert written.endswith("|\n\n<!-- /figures -->\nb\n")
    assert "old" not in written and "other" not in written


def test_the_readme_has_a_place_for_five_figures() -> None:
    headlines = [goal.headline for m in TABLE for goal in m.goals if goal.headline]
    assert 5 == len(headlines)
    assert FIGURES.search(README.read_text())


def test_what_is_no_result_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    file.write_text("nothing\n")
    with pytest.raises(ValueError, match="holds no result"):
        load(file)


def test_a_result_with_peers_is_their_ratio() -> None:
    found = outcome()
    found.measurement = replace(found.measurement, beside="theirs")
    found.samples = {"ours": [{"runs/s": 300.0}], "theirs": [{"runs/s": 100.0}]}
    assert report.value_rows(found)[1] == ("ours", "300", "3", "3-3")
    assert report.value_rows(found)[0] == ("", "runs/s", "× theirs", "min-max")
