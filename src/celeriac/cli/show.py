"""Print tables on a terminal, and plain lines elsewhere. Times are UTC."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from celeriac.cli.terminal import make_console
from celeriac.time_text import duration, run_time, when

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

__all__ = ["STYLES", "console", "count", "duration", "run_time", "state_text", "table", "when"]

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
# Names and ids wrap after one of these, not within a word.
SEPARATORS = frozenset("._-/@:,=")
MAX_ROWS = 500
# Of a column that wraps, if the terminal has no space for the given width.
NARROWEST = 8


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
    omitted in order, and a line below names them; those in `fold` wrap between words, to the given
    width if possible. A table that still does not fit has lines wider than the terminal. A terminal
    shows the first MAX_ROWS rows. None and 0 are shown as a dim dot.
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
    # rich would cut the columns of a table that is too wide; the terminal wraps its lines
    output.width = max(output.width, _total(shown, widths, gap))
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
        grid.add_row(*(_wrappable(row[n], widths[headers[n]]) for n in chosen))
    if output.is_terminal:
        output.print(grid)
    else:
        with output.capture() as captured:
            output.print(grid)
        for line in captured.get().splitlines():
            # rich pads each line to the longest one
            output.print(Text(line.rstrip()), soft_wrap=True)
    if hidden := [name for name in headers if name not in shown]:
        output.print(Text(f"Not shown at this width: {', '.join(hidden)}.", style="dim"))
    if more:
        output.print(Text(f"and {more:,} more; write to a pipe or a file to see all", style="dim"))


def set_columns(
    headers: Sequence[str], rows: Sequence[Sequence[object]], optional: str
) -> tuple[Sequence[str], Sequence[Sequence[object]]]:
    """Return the headers and rows without the column `optional` if no row has a value for it."""
    at = headers.index(optional)
    if any(row[at] for row in rows):
        return headers, rows
    return [*headers[:at], *headers[at + 1 :]], [[*row[:at], *row[at + 1 :]] for row in rows]


def _fitted(
    natural: Mapping[str, int], width: int, fold: Mapping[str, int], shed: Sequence[str], gap: int
) -> tuple[list[str], dict[str, int]]:
    """Return the columns that fit, and their widths."""
    shown, leaving = list(natural), list(shed)
    narrowest = {name: min(size, fold.get(name, size)) for name, size in natural.items()}
    while leaving and _total(shown, narrowest, gap) > width:
        shown.remove(leaving.pop(0))
    widths = dict(natural)
    scarce = {
        name: min(size, NARROWEST) if name in fold else size for name, size in natural.items()
    }
    for least in (narrowest, scarce):
        while _total(shown, widths, gap) > width:
            # The widest column that may wrap gives up one cell, so that widths become equal.
            wide = [name for name in shown if widths[name] > least[name]]
            if not wide:
                break
            widths[max(wide, key=lambda name: widths[name])] -= 1
    return shown, widths


def _total(shown: Sequence[str], widths: Mapping[str, int], gap: int) -> int:
    return sum(widths[name] for name in shown) + gap * (len(shown) - 1)


def _wrappable(cell: Text, width: int) -> Text:
    """Return the cell with line breaks in the words that are wider than the column."""
    from rich.text import Text

    breaks = []
    for word in re.finditer(r"\S+", cell.plain):
        begin, end = word.span()
        while end - begin > width:
            after = (n + 1 for n in range(begin, begin + width) if cell.plain[n] in SEPARATORS)
            begin = max(after, default=begin + width)
            breaks.append(begin)
    return Text("\n").join(cell.divide(breaks)) if breaks else cell


def _width(cell: Text) -> int:
    return max((line.cell_len for line in cell.split("\n", allow_blank=True)), default=0)


def _plain(cell: object) -> Text:
    from rich.text import Text

    return Text("·", style="dim") if cell in (None, 0, "") else Text(str(cell))


def count(number: int, noun: str, plural: str = "") -> str:
    """Return, for example, `1 event`, `3 events` or `2,000 entries`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
