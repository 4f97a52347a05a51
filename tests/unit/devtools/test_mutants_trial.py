"""Which tests judge a fault, and what the report shows of their output."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from threading import Thread

import pytest

from devtools.mutants import trial as trial_module
from devtools.mutants.command import confirmed
from devtools.mutants.mutation import Mutation, mutations_of
from devtools.mutants.recording import RecordedTest, Recorder
from devtools.mutants.selection import tests_of_line as select_by_line
from devtools.mutants.selection import tests_of_module as select_by_module
from devtools.mutants.trial import ROOT, Judgement, Outcome, RecordingFails, Trial, judgement

SOURCE = """\
LIMIT = 3

def is_open(count):
    return count < LIMIT

def unused():
    return 5
"""
TESTS = """\
import time
import pytest
from celeriac.gate import is_open

def test_open():
    assert is_open(0)

def test_closed():
    time.sleep(0.5)
    assert not is_open(3)

def test_other():
    pass

@pytest.fixture
def broken():
    raise OSError

def test_that_always_fails(broken):
    assert is_open(0)
"""


def mutation(line: int, path: str = "a.py") -> Mutation:
    return Mutation(path, line, range(line, line + 1), "a", "b", "")


@pytest.fixture
def traced_function(tmp_path: Path) -> Iterator[Callable[[int], int]]:
    """A function with a branch, in a folder that the recorder watches."""
    file = tmp_path / "branch.py"
    file.write_text("def f(n):\n    if n:\n        n += 1\n    return n\n")
    names: dict[str, Callable[[int], int]] = {}
    exec(compile(file.read_text(), str(file), "exec"), names)
    previous = sys.gettrace()
    yield names["f"]
    sys.settrace(previous)


def test_a_recorder_notes_the_executed_lines_of_its_folder(
    tmp_path: Path, traced_function: Callable[[int], int]
) -> None:
    recorder = Recorder(str(tmp_path))
    recorder.start()
    traced_function(0)
    recorder.stop()
    traced_function(1)
    assert {str(tmp_path / "branch.py"): {2, 4}} == recorder.test.lines


def test_a_recorder_notes_the_lines_of_threads_too(
    tmp_path: Path, traced_function: Callable[[int], int]
) -> None:
    recorder = Recorder(str(tmp_path))
    recorder.start()
    thread = Thread(target=traced_function, args=(1,))
    thread.start()
    thread.join()
    recorder.stop()
    assert {str(tmp_path / "branch.py"): {2, 3, 4}} == recorder.test.lines


def test_the_tests_that_execute_a_line_judge_it_the_fastest_first() -> None:
    recording = {
        "slow": RecordedTest(2.0, lines={"a.py": {1, 2}}),
        "fast": RecordedTest(1.0, lines={"a.py": {2}}),
        "fails": RecordedTest(0.1, failed=True, lines={"a.py": {2}}),
        "other": RecordedTest(0.1, lines={"a.py": {1}, "b.py": {2}}),
        "elsewhere": RecordedTest(0.1, lines={"b.py": {1}}),
        "starts a process": RecordedTest(3.0),
    }
    assert ["fast", "slow"] == select_by_line(recording, mutation(2))
    assert [] == select_by_line(recording, mutation(3))
    assert ["other", "fast", "slow", "starts a process"] == select_by_module(recording, mutation(3))


def test_all_tests_judge_a_module_without_executed_functions() -> None:
    recording = {"b": RecordedTest(2.0), "a": RecordedTest(1.0)}
    assert ["a", "b"] == select_by_module(recording, mutation(1))


@pytest.mark.parametrize(
    ("status", "output", "outcome", "reason"),
    [
        (0, "3 passed", Outcome.SURVIVED, ""),
        (1, "FAILED a.py::test_x - assert 1\n", Outcome.NOTICED, "a.py::test_x - assert 1"),
        (4, "ImportError while loading conftest", Outcome.NOTICED, "ImportError while loading"),
        (1, "E   Failed: Timeout (>1s) from\nFAILED a.py::x - F", Outcome.HUNG, "a.py::x - F"),
        (None, "", Outcome.HUNG, ""),
    ],
)
def test_the_exit_status_of_pytest_is_the_verdict(
    status: int | None, output: str, outcome: Outcome, reason: str
) -> None:
    found = judgement(status, output, 1)
    assert outcome is found.outcome
    assert found.reason.startswith(reason)


def test_a_run_without_tests_is_no_verdict() -> None:
    with pytest.raises(RecordingFails, match="collected none of 2"):
        judgement(5, "", 2)


class ScriptedTrial(Trial):
    """Returns the judgements that are given, and records the tests that it runs."""

    def __init__(self, *judgements: Judgement) -> None:
        self.judgements = list(judgements)
        self.runs: list[list[str]] = []

    def judge(self, mutation: Mutation, tests: Mapping[str, float]) -> Judgement:
        self.runs.append(list(tests))
        return self.judgements.pop(0)


NOTICED = Judgement(Outcome.NOTICED, 2, "a.py::x - assert 1")
SURVIVED = Judgement(Outcome.SURVIVED, 1)


def test_a_test_that_notices_the_fault_again_alone_is_believed() -> None:
    trial = ScriptedTrial(NOTICED, NOTICED)
    assert NOTICED == confirmed(trial, mutation(1), {"a.py::x": 1.0, "a.py::y": 1.0})
    assert [["a.py::x", "a.py::y"], ["a.py::x"]] == trial.runs


def test_a_test_that_fails_at_random_does_not_judge() -> None:
    trial = ScriptedTrial(NOTICED, SURVIVED, SURVIVED)
    assert SURVIVED == confirmed(trial, mutation(1), {"a.py::x": 1.0, "a.py::y": 1.0})
    assert [["a.py::x", "a.py::y"], ["a.py::x"], ["a.py::y"]] == trial.runs
    only = confirmed(ScriptedTrial(NOTICED, SURVIVED), mutation(1), {"a.py::x": 1.0})
    assert Outcome.SURVIVED is only.outcome


def test_a_fault_that_prevents_the_tests_is_noticed() -> None:
    broken = Judgement(Outcome.NOTICED, 1, "ImportError while loading conftest")
    assert broken == confirmed(ScriptedTrial(broken), mutation(1), {"a.py::x": 1.0})


def test_a_trial_finds_noticed_survived_and_hung_faults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no fault is left in the copy: the second run of `is_open` passes."""
    for name, text in {
        "src/celeriac/__init__.py": "", "src/celeriac/gate.py": SOURCE, "tests/test_gate.py": TESTS,
        "pyproject.toml": "[tool.pytest.ini_options]\naddopts = ['-ra']\n",
    }.items():  # fmt: skip
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    shutil.copytree(ROOT / "devtools" / "mutants", tmp_path / "devtools" / "mutants")
    # All plugins of this environment take longer to import than the tests to run.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_PLUGINS", "pytest_timeout")
    subprocess.check_call(["git", "init", "-q"], cwd=tmp_path)
    path = "src/celeriac/gate.py"
    faults = {(it.before, it.after): it for it in mutations_of(path, SOURCE)}
    endless = Mutation(
        path, 4, range(4, 5), "", "", SOURCE.replace("return count", "while 1: count")
    )
    with Trial(tmp_path) as trial:
        recording = trial.record("", ["tests"], 120)
        assert [True, False, False, False] == sorted(
            (test.failed for test in recording.values()), reverse=True
        )
        limit = faults["count < LIMIT", "(count <= LIMIT)"]
        names = select_by_line(recording, limit)
        assert ["tests/test_gate.py::test_open", "tests/test_gate.py::test_closed"] == names
        tests = dict.fromkeys(names, 1.0)
        found = trial.judge(limit, tests)
        assert Outcome.NOTICED is found.outcome
        assert found.reason.startswith("tests/test_gate.py::test_closed")
        assert Outcome.SURVIVED is trial.judge(faults["5", "6"], tests).outcome
        monkeypatch.setattr(trial_module, "HUNG_SECONDS", 1)
        assert Outcome.HUNG is trial.judge(endless, dict.fromkeys(names, 0.0)).outcome
