"""The tree of causes on a terminal: with a time line where there is room for one."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from celeriac.cli.show import STYLES, console, count, took, when
from celeriac.cli.trace.line import Line, lines, span
from celeriac.tracking import Tree

if TYPE_CHECKING:
    from rich.text import Text

WIDE = 110  # columns from which on there is room for the time line
BAR = 30  # columns of it
UNBOUNDED = 120  # where the output is no terminal
NONE: Mapping[tuple[str, str], str] = MappingProxyType({})


def draw(tree: Tree, asked: str, errors: Mapping[tuple[str, str], str] = NONE) -> None:
    """Prints it. `asked` is the key of the event that it was asked for; `errors` has the last one
    of (event key, handler)."""
    out = console()
    drawn = lines(tree)
    width = min(out.width, UNBOUNDED) if not out.is_terminal else out.width
    whole = span(drawn)
    bar = BAR if width >= WIDE else 0
    room = width - (bar + 2 if bar else 0)
    started = min((node.time_ms for node in tree.nodes if node.time_ms is not None), default=None)
    out.print(
        f"{count(len(tree.nodes), 'event')}, "
        f"{count(sum(line.cell is not None for line in drawn), 'delivery', 'deliveries')}, "
        f"{milliseconds(whole)} since {when(started)}",
        style="dim",
        soft_wrap=True,
    )
    for line in drawn:
        text = _line(line, room, asked, cut=out.is_terminal)
        if bar:
            text.append("  ")
            text.append_text(_bar(line, whole, bar))
        text.rstrip()
        out.print(text, soft_wrap=True)
        error = errors.get((line.event.key, line.cell.handler)) if line.cell is not None else None
        if error is not None:
            out.print(_error(line, error, out.width if out.is_terminal else None), soft_wrap=True)
    if tree.unseen:
        out.print(f"… and {count(tree.unseen, 'event')} more", style="dim")


def _line(line: Line, room: int, asked: str, *, cut: bool) -> Text:
    from rich.text import Text

    left, right = Text.assemble((line.prefix, "dim")), Text()
    if line.cell is None:
        left.append(line.event.type or "(an event that is gone)", "bold")
        left.append("  ").append(line.event.id, "reverse" if line.event.key == asked else "dim")
        right.append(_after(line.begin), "dim")
    else:
        cell = line.cell
        left.append(cell.handler)
        right.append(cell.state, STYLES.get(cell.state, ""))
        if cell.attempts > 1:
            right.append(f" in {cell.attempts}", "yellow")
        right.append(f"{took(cell.took_us):>9}")
        right.append(f"{_after(line.end):>10}", "dim")
    space = room - right.cell_len - 1
    if cut:
        left.truncate(max(10, space), overflow="ellipsis")
    left.append(" " * max(1, room - left.cell_len - right.cell_len))
    return left.append_text(right)


def _error(line: Line, error: str, width: int | None) -> Text:
    from rich.text import Text

    under = line.prefix[:-3] + ("│  " if line.prefix[-3:] == "├─ " else "   ")
    text = Text.assemble((under, "dim"), ("  " + error, "red"))
    if width is not None:
        text.truncate(width, overflow="ellipsis")
    return text


def _bar(line: Line, whole: float, width: int) -> Text:
    """Where in the whole of the time it lies: waiting is faint, running is not."""
    from rich.text import Text

    if line.begin is None or whole <= 0:
        return Text("")
    begin = min(width - 1, int(line.begin / whole * width))
    if line.cell is None:
        return Text.assemble(" " * begin, ("▏", "bold"))
    end = min(width, max(begin + 1, round((line.end or line.begin) / whole * width)))
    emitted = begin
    if line.event.time_ms is not None and line.cell.at_ms is not None:
        waited = line.cell.at_ms - line.event.time_ms
        emitted = max(0, int(((line.end or 0) - waited) / whole * width))
    style = STYLES.get(line.cell.state, "")
    return Text.assemble(
        " " * min(emitted, begin),
        ("─" * max(0, begin - emitted), "dim"),
        ("█" * (end - begin), style),
    )


def _after(ms: float | None) -> str:
    return "" if ms is None else f"+{milliseconds(ms)}"


def milliseconds(ms: float) -> str:
    """`12 ms`, `3.4 s`, `5 min`, `2.5 h`."""
    if ms < 1000:
        return f"{ms:.0f} ms"
    if ms < 120_000:
        return f"{ms / 1000:.1f} s"
    return f"{ms / 60_000:.0f} min" if ms < 7_200_000 else f"{ms / 3_600_000:.1f} h"
