"""Faults for the code: what they change, and that a sample is the same each time."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from devtools.mutants.command import sample
from devtools.mutants.mutation import mutations_of
from devtools.mutants.trial import own_tests


def faults(source: str) -> set[tuple[str, str]]:
    found = mutations_of("a.py", source)
    for mutation in found:
        ast.parse(mutation.source)
    return {(mutation.before, mutation.after) for mutation in found}


@pytest.mark.parametrize(
    ("source", "before", "after"),
    [
        ("x = a < b", "a < b", "(a <= b)"),
        ("x = a is None", "a is None", "(a is not None)"),
        ("x = a and b or c", "a and b", "(a or b)"),
        ("if a:\n    pass", "a", "(not (a))"),
        ("x = f(limit=5)", "5", "6"),
        ("x = f(own=True)", "True", "False"),
        ("def f():\n    save(x)", "save(x)", "pass"),
        ("def f():\n    return x", "return x", "return None"),
        ('x = "é" if a > 1 else 2', "a > 1", "(a >= 1)"),
    ],
)
def test_each_kind_of_fault(source: str, before: str, after: str) -> None:
    assert (before, after) in faults(source)


@pytest.mark.parametrize(
    "source",
    [
        '"""Text."""',
        "def f(a: Literal[1]) -> None: ...",
        "def f():\n    log.info('%d', n)",
        "raise ValueError(f'{1}')",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import a",
        "@retry(3)\ndef f() -> None: ...",
    ],
)
def test_what_only_describes_is_left_alone(source: str) -> None:
    assert not {before for before, _ in faults(source)} - {"TYPE_CHECKING"}


def test_the_same_seed_chooses_the_same_faults_and_each_package_its_share() -> None:
    first = sample(["inbox", "security"], 5, seed=7)
    assert first == sample(["inbox", "security"], 5, seed=7)
    assert first != sample(["inbox", "security"], 5, seed=8)
    assert ["inbox", "inbox", "inbox", "security", "security"] == [package for package, _ in first]


def test_the_tests_of_a_module_judge_its_faults_first(tmp_path: Path) -> None:
    folder = tmp_path / "tests/unit/executor"
    folder.mkdir(parents=True)
    for name in ("test_work.py", "test_work_batch.py", "test_workload.py"):
        (folder / name).touch()
    expected = ("tests/unit/executor/test_work.py", "tests/unit/executor/test_work_batch.py")
    assert expected == own_tests(tmp_path, "src/celeriac/executor/work.py")
    assert () == own_tests(tmp_path, "src/celeriac/executor/lease.py")
