"""python3 dev.py compat"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from devtools.compat.cell import CELLS
from devtools.compat.page import PAGE, RESULTS, keep, load, with_table
from devtools.compat.run import ABSENT, FAILED, Result, run_cell

ROOT = Path(__file__).parents[2]


def main(argv: Sequence[str]) -> int:
    """Run the named cells one after another, or all. Return 0 if none failed.

    With CI set, a cell whose Python or server is missing has failed as well.
    """
    options = _options(argv)
    known = {cell.name: cell for cell in CELLS}
    if options.list:
        for cell in CELLS:
            pythons = " or ".join(cell.pythons)
            print(f"{cell.name}: Python {pythons}, {cell.server}, {' '.join(cell.pins)}")
        return 0
    if options.page:
        page = ROOT / PAGE
        page.write_text(with_table(page.read_text(), CELLS, load(ROOT / RESULTS)))
        return 0
    if unknown := [name for name in options.cells if name not in known]:
        print(f"compat: no cell {unknown[0]!r}; --list shows all", file=sys.stderr)
        return 2
    results = []
    for name in options.cells or known:
        result = run_cell(known[name], ROOT, quick=options.quick)
        results.append(result)
        print(_line(result), file=sys.stderr, flush=True)
        if options.record:
            keep(ROOT / RESULTS, [result])
    print(msgspec.json.encode(results).decode() if options.json else _table(results))
    bad = (FAILED, ABSENT) if os.environ.get("CI") else (FAILED,)
    return 1 if any(result.outcome in bad for result in results) else 0


def _line(result: Result) -> str:
    return "\n    ".join(
        [
            f"{result.cell}: {result.outcome} ({result.seconds:.0f} s) {result.summary}",
            *result.failures,
        ]
    )


def _table(results: Sequence[Result]) -> str:
    width = max((len(result.cell) for result in results), default=0)
    return "\n".join(
        f"{result.cell:{width}}  {result.outcome:13}  "
        + "  ".join(f"{name} {version}" for name, version in result.versions.items())
        for result in results
    )


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="dev.py compat", description="Tests with the releases that are supported."
    )
    parser.add_argument("cells", nargs="*", metavar="CELL", help="those named; all without a name")
    parser.add_argument("--list", action="store_true", help="name the cells and end")
    parser.add_argument("--quick", action="store_true", help="a selection of the tests")
    parser.add_argument("--json", action="store_true", help="the results as one line of JSON")
    parser.add_argument("--record", action="store_true", help=f"keep the results in {RESULTS}")
    parser.add_argument("--page", action="store_true", help=f"write {PAGE} from them and end")
    return parser.parse_args(argv)
