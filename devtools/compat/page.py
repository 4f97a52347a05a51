"""The results that are kept, and their table in docs/reference/supported-versions.md."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from devtools.compat.cell import Cell
from devtools.compat.run import ABSENT, SHOWN, Result

PAGE = "docs/reference/supported-versions.md"
RESULTS = "docs/reference/supported-versions.json"
_HEADER = """\
| cell | Python | server | releases | tests | result |
|---|---|---|---|---|---|
"""


def load(path: Path) -> dict[str, Result]:
    """Return the kept results by the names of their cells; none without the file."""
    if not path.exists():
        return {}
    return {
        result.cell: result for result in msgspec.json.decode(path.read_bytes(), type=list[Result])
    }


def keep(path: Path, results: Sequence[Result]) -> None:
    """Replace the kept results of the cells that ran."""
    kept = load(path) | {result.cell: result for result in results if result.outcome != ABSENT}
    path.write_bytes(
        msgspec.json.format(msgspec.json.encode(list(kept.values())), indent=1) + b"\n"
    )


def with_table(page: str, cells: Sequence[Cell], kept: dict[str, Result]) -> str:
    """Return the page with the table of these results in place of the one that it has."""
    table = _HEADER + "".join(_row(cell, kept.get(cell.name)) for cell in cells)
    # A function, since a replacement would have its backslashes read.
    written, tables = re.subn(re.escape(_HEADER) + r"(\|.*\n)*", lambda _: table, page)
    if tables != 1:
        raise ValueError(f"{PAGE} has {tables} tables of results; it must have one")
    return written


def _row(cell: Cell, result: Result | None) -> str:
    if result is None:
        releases = " ".join(cell.pins) or "newest"
        columns = (" or ".join(cell.pythons), cell.server, releases, "not run yet", "")
    else:
        versions = result.versions
        releases = ", ".join(f"{name} {versions[name]}" for name in SHOWN if name in versions)
        columns = (
            versions.get("python", " or ".join(cell.pythons)),
            versions.get("server", cell.server),
            releases,
            f"{result.tests}, {result.date}",
            _summary(result),
        )
    return f"| `{cell.name}` | " + " | ".join(columns) + " |\n"


def _summary(result: Result) -> str:
    """pytest's closing line without its duration, and the tests that failed."""
    summary = re.sub(r" in [\d.]+s.*$", "", result.summary.splitlines()[0]).strip("= ")
    names = [re.sub(r"^\w+ (\S+).*", r"`\1`", line) for line in result.failures]
    return summary.replace("|", "\\|") + (f": {', '.join(names)}" if names else "")
