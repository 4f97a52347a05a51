"""Faults for the code: what they change, and that a sample is the same each time."""

from __future__ import annotations

import ast

import pytest

from devtools.mutants.mutation import mutations_of
from devtools.mutants.sample import sample


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


@pytest.mark.parametrize(
    ("source", "before", "lines"),
    [
        ("def f():\n    return g(\n        a,\n        limit=5,\n    )", "5", [2, 3, 4, 5]),
        ("if a:\n    b = 1", "a", [1]),
        ("while (\n    a\n    and b\n):\n    c()", "a\n    and b", [1, 2, 3, 4]),
        ("def f(\n    a=5,\n):\n    return a", "5", [1, 2, 3]),
        ("match a:\n    case 1:\n        b()\n    case _ if c < d:\n        e()", "c < d", [4]),
    ],
)
def test_a_fault_has_the_lines_of_its_statement(source: str, before: str, lines: list[int]) -> None:
    [found] = {
        tuple(mutation.lines)
        for mutation in mutations_of("a.py", source)
        if mutation.before == before
    }
    assert lines == list(found)
