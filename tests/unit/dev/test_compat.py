"""What is tested, what pyproject.toml admits and what the page says are the same."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from celeriac.dev.compat.cell import CELLS, END_TO_END, FLOORS, FULL, QUICK

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/reference/supported-versions.md").read_text()


def test_the_lowest_cell_has_the_floors_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    required = [*project["dependencies"], *(line for extra in extras for line in extra)]
    found = [re.match(r"([\w-]+)(?:\[.*\])?>=([\d.]+)", line) for line in required]
    floors = {match[1]: numbers(match[2]) for match in found if match}
    assert len(floors) == len(required)
    pinned = {name: numbers(release) for name, release in (pin.split("==") for pin in FLOORS)}
    assert pinned == floors


def test_the_page_has_a_row_for_each_cell() -> None:
    table = PAGE.split("\n## What was tested\n")[1]
    assert re.findall(r"^\| `([\w.-]+)` \|", table, re.M) == [cell.name for cell in CELLS]


def test_the_page_has_each_floor() -> None:
    for pin in FLOORS:
        name, release = pin.split("==")
        row = re.search(rf"^\| `{name}` \| ([\d.]+) \|", PAGE, re.M)
        assert row is not None and numbers(row[1]) == numbers(release), name


def test_the_tests_of_a_cell_exist() -> None:
    for path in (*FULL, *QUICK, END_TO_END.partition("::")[0]):
        assert (ROOT / path).exists(), path
    assert (
        f"def {END_TO_END.partition('::')[2]}(" in (ROOT / "tests/e2e/test_workers.py").read_text()
    )


def numbers(release: str) -> list[int]:
    """Without the zeros at the end: 2.6 and 2.6.0 are one release."""
    parts = [int(part) for part in release.split(".")]
    while parts and parts[-1] == 0:
        parts.pop()
    return parts
