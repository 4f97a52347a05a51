"""Print tables on a terminal, and plain lines elsewhere. Times are UTC."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from celeriac.cli.terminal import make_console
from celeriac.time_text import age, took, when

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

__all__ = ["STYLES", "age", "console", "count", "state_text", "table", "took", "when"]

STYLES: Mapping[str, str] = {
    "processed": "green",
    "skipped": "dim",
    "coalesced": "dim",
    "ignored": "dim",
    "waiting": "cyan",
    "queued": "cyan",
    "running": "blue",
    "scheduled": "yellow",
    "blocked": "yellow",
    "dead": "red",
    "open": "blue",
    "completed": "green",
    "aborted": "yellow",
    "missing": "bold red",
    "forgotten": "dim",
    "ok": "green",
    "warn": "yellow",
    "fail": "bold red",
}
# Without a terminal, nothing is wrapped, truncated or omitted.
UNBOUNDED = 1000
MAX_ROWS = 500


def console() -> Console:
    return make_console(None if sys.stdout.isatty() else UNBOUNDED, highlight=False)


def state_text(state: str, text: str | None = None) -> Text:
    from rich.text import Text

    return Text(state if text is None else text, style=STYLES.get(state, ""))


def table(
    headers: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    right: Iterable[str] = (),
    fold: Mapping[str, int] | None = None,
    shed: Sequence[str] = (),
    gap: int = 2,
) -> None:
    """Print a table that fits the terminal and truncates no value.

    Columns in `right` hold numbers. If the terminal is too narrow, the columns in `shed` are
    omitted in order, and a line below names them; those in `fold` wrap, at no less than the given
    width. A terminal shows the first MAX_ROWS rows. None and 0 are shown as a dim dot.
    """
    from rich.table import Table
    from rich.text import Text

    output, fold = console(), fold or {}
    rows = list(rows)
    more = max(0, len(rows) - MAX_ROWS) if output.is_terminal else 0
    rows = rows[: len(rows) - more]
    cells = [[c if isinstance(c, Text) else _plain(c) for c in row] for row in rows]
    natural = {
        name: max([len(name), *(_width(row[n]) for row in cells)]) for n, name in enumerate(headers)
    }
    shown, widths = _fitted(natural, output.width, fold, shed, gap)
    grid = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="bold")
    for name in shown:
        grid.add_column(
            name,
            justify="right" if name in right else "left",
            width=widths[name],
            no_wrap=name not in fold,
            overflow="fold",
        )
    chosen = [headers.index(name) for name in shown]
    for row in cells:
        grid.add_row(*(row[n] for n in chosen))
    output.print(grid)
    if hidden := [name for name in headers if name not in shown]:
        output.print(Text(f"Not shown at this width: {', '.join(hidden)}.", style="dim"))
    if more:
        output.print(Text(f"and {more:,} more; write to a pipe or a file to see all", style="dim"))


def _fitted(
    natural: Mapping[str, int], width: int, fold: Mapping[str, int], shed: Sequence[str], gap: int
) -> tuple[list[str], dict[str, int]]:
    """Return the columns that fit, and their widths."""
    shown, leaving = list(natural), list(shed)

    def total(widths: Mapping[str, int]) -> int:
        return sum(widths[name] for name in shown) + gap * (len(shown) - 1)

    narrowest = {name: min(size, fold.get(name, size)) for name, size in natural.items()}
    while leaving and total(narrowest) > width:
        shown.remove(leaving.pop(0))
    widths = dict(natural)
    while total(widths) > width:
        # The widest column that may wrap gives up one cell, so that widths become equal.
        wide = [name for name in shown if widths[name] > narrowest[name]]
        if not wide:
            break
        widths[max(wide, key=lambda name: widths[name])] -= 1
    return shown, widths


def _width(cell: Text) -> int:
    return max((line.cell_len for line in cell.split("\n", allow_blank=True)), default=0)


def _plain(cell: object) -> Text:
    from rich.text import Text

    return Text("·", style="dim") if cell in (None, 0, "") else Text(str(cell))


def count(number: int, noun: str, plural: str = "") -> str:
    """Return, for example, `1 event`, `3 events` or `2,000 entries`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
