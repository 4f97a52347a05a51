"""The distribution of tests to processes (`tests/distribution.py`)."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.distribution import SHARING, SLOW, Turns, unit_of

ROOT = Path(__file__).parents[2]
# Split, because this file must not match.
FIXTURE = "@pytest.fixture(" + 'scope="module"'


def test_tests_of_a_file_that_share_a_fixture_run_in_one_process() -> None:
    sharing = [
        str(path.relative_to(ROOT))
        for path in ROOT.glob("tests/**/test_*.py")
        if FIXTURE in path.read_text()
    ]
    assert sharing
    assert [(path, path) for path in sharing] == [(p, unit_of(f"{p}::test")) for p in sharing]


def test_the_tests_on_rabbitmq_share_its_node() -> None:
    tests = [
        "tests/e2e/test_pools.py::test[rabbitmq-solo]",
        "tests/e2e/test_workers.py::test[rabbitmq]",
    ]
    assert {"rabbitmq"} == {*map(unit_of, tests)}


def test_the_blocks_of_a_page_run_in_one_process_and_other_tests_in_any() -> None:
    assert "docs/how-to/emit.md" == unit_of("docs/how-to/emit.md::line:8,column:1")
    test = "tests/unit/test_fork.py::test_a[b]"
    assert test == unit_of(test)


@pytest.mark.parametrize("path", sorted({*SHARING, *SLOW}))
def test_each_file_that_is_named_is_there(path: str) -> None:
    assert (ROOT / path).exists()


ORDER = """
import pytest

@pytest.mark.quiet
def test_quiet(): pass

@pytest.mark.waiting
def test_waiting(): pass

def test_other(): pass
"""


def test_waiting_tests_start_after_the_others_and_quiet_ones_last(tmp_path: Path) -> None:
    (tmp_path / "test_order.py").write_text(ORDER)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    quiet\n    waiting\n")
    command = [sys.executable, "-m", "pytest", "-p", "tests.distribution", "-n1", "-v", "."]
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=110,
    )  # fmt: skip
    assert ["other", "waiting", "quiet"] == re.findall(r"PASSED .*::test_(\w+)", done.stdout)


def test_quick_imports_no_file_that_it_leaves_out(tmp_path: Path) -> None:
    for path in ("tests/e2e/test_it.py", "tests/unit/cli/test_tail.py"):
        left_out = tmp_path / path
        left_out.parent.mkdir(parents=True)
        left_out.write_text("raise AssertionError('imported')\n")
    (tmp_path / "tests" / "unit" / "test_other.py").write_text("def test_other(): pass\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-p", "tests.distribution", "--quick", "-v", "."]
    done = subprocess.run(
        command, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True, text=True, timeout=110,
    )  # fmt: skip
    assert ["tests/unit/test_other.py"] == re.findall(r"(\S+)::test_\w+ PASSED", done.stdout)
    assert done.returncode == 0


def test_tests_that_want_to_be_alone_take_turns(tmp_path: Path) -> None:
    """Both run, and so does a third. Each waits for the others to end, or to wait as well."""
    tests = [Turns(tmp_path) for _ in range(3)]
    order: list[str] = []

    def take_alone(turns: Turns) -> None:
        turns.take_alone()
        order.append("begins")
        order.append("ends")
        turns.end()

    for turns in tests:
        turns.take(alone=False)
    waiting = [threading.Thread(target=take_alone, args=(turns,)) for turns in tests[:2]]
    for thread in waiting:
        thread.start()
    waiting[0].join(0.2)
    order.append("third ends")
    tests[2].end()
    for thread in waiting:
        thread.join(10)
    assert ["third ends", "begins", "ends", "begins", "ends"] == order
    for turns in tests:
        turns.pytest_unconfigure()
