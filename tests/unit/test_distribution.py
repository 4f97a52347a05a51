"""The distribution of tests to processes (`tests/distribution.py`)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.distribution import SHARING, SLOW, unit_of

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


def test_the_blocks_of_a_page_run_in_one_process_and_other_tests_in_any() -> None:
    assert "docs/how-to/emit.md" == unit_of("docs/how-to/emit.md::line:8,column:1")
    test = "tests/unit/test_fork.py::test_a[b]"
    assert test == unit_of(test)


@pytest.mark.parametrize("path", sorted({*SHARING, *SLOW}))
def test_each_file_that_is_named_is_there(path: str) -> None:
    assert (ROOT / path).exists()
