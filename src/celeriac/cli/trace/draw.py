"""Draw the tree of causes on a terminal, with a time line if it is wide enough."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from celeriac.cli.show import STYLES, console, count, duration, run_time, when
from celeriac.cli.trace.line import TraceLine, lines, span
from celeriac.process.trace import TracedInstance
from celeriac.tracking import Tree

if TYPE_CHECKING:
    from rich.text import Text

WIDE = 110  # columns; a wider terminal shows the time line
BAR = 30  # columns of the time line
UNBOUNDED = 120  # columns, if the output is not a terminal
NONE: Mapping[tuple[str, str], str] = MappingProxyType({})
NO_INSTANCES: Mapping[tuple[str, str], TracedInstance] = MappingProxyType({})


def draw(
    tree: Tree,
    selected: str,
    errors: Mapping[tuple[str, str], str] = NONE,
    instances: Mapping[tuple[str, str], TracedInstance] = NO_INSTANCES,
) -> None:
    """Print the tree.

    `selected` is the key of the event to highlight. `errors` has the last error, and `instances`
    the instance of a process, by (event key, handler).
    """
    out = console()
    drawn = lines(tree)
    width = min(out.width, UNBOUNDED) if not out.is_terminal else out.width
    total_ms = span(drawn)
    bar = BAR if width >= WIDE else 0
    text_width = width - (bar + 2 if bar else 0)
    started = min((node.time_ms for node in tree.nodes if node.time_ms is not None), default=None)
    out.print(
        f"{count(len(tree.nodes), 'event')}, "
        f"{count(sum(line.cell is not None for line in drawn), 'delivery', 'deliveries')}, "
        f"{duration(total_ms / 1000)} since {when(started)}",
        style="dim",
        soft_wrap=True,
    )
    for line in drawn:
        instance = instances.get((line.event.key, line.cell.handler)) if line.cell else None
        text = _line(line, text_width, selected, instance, cut=out.is_terminal)
        if bar:
            text.append("  ")
            text.append_text(_bar(line, total_ms, bar))
        text.rstrip()
        out.print(text, soft_wrap=True)
        error = errors.get((line.event.key, line.cell.handler)) if line.cell is not None else None
        if error is not None:
            out.print(_error(line, error, out.width if out.is_terminal else None), soft_wrap=True)
    if tree.unseen:
        out.print(f"… and {count(tree.unseen, 'event')} more", style="dim")


def _line(
    line: TraceLine, text_width: int, selected: str, instance: TracedInstance | None, *, cut: bool
) -> Text:
    from rich.text import Text

    name, facts = Text.assemble((line.prefix, "dim")), Text()
    if line.cell is None:
        name.append(line.event.type or "(a deleted event)", "bold")
        name.append("  ").append(line.event.id, "reverse" if line.event.key == selected else "dim")
        facts.append(_after(line.begin), "dim")
    else:
        cell = line.cell
        name.append(cell.handler)
        if instance is not None:
            name.append(f"  {instance.key}", "dim")
            name.append(f" {instance.status}", STYLES.get(instance.status, ""))
        facts.append(cell.state, STYLES.get(cell.state, ""))
        if cell.attempts > 1:
            facts.append(f" in {cell.attempts}", "yellow")
        facts.append(f"{run_time(cell.took_us):>9}")
        facts.append(f"{_after(line.end):>10}", "dim")
    space = text_width - facts.cell_len - 1
    if cut:
        name.truncate(max(10, space), overflow="ellipsis")
    name.append(" " * max(1, text_width - name.cell_len - facts.cell_len))
    return name.append_text(facts)


def _error(line: TraceLine, error: str, width: int | None) -> Text:
    from rich.text import Text

    under = line.prefix[:-3] + ("│  " if line.prefix[-3:] == "├─ " else "   ")
    text = Text.assemble((under, "dim"), ("  " + error, "red"))
    if width is not None:
        text.truncate(width, overflow="ellipsis")
    return text


def _bar(line: TraceLine, total_ms: float, width: int) -> Text:
    """Draw the time span of a line: waiting is thin, running is thick."""
    from rich.text import Text

    if line.begin is None or total_ms <= 0:
        return Text("")
    begin = min(width - 1, int(line.begin / total_ms * width))
    if line.cell is None:
        return Text.assemble(" " * begin, ("▏", "bold"))
    end = min(width, max(begin + 1, round((line.end or line.begin) / total_ms * width)))
    emitted = begin
    if line.event.time_ms is not None and line.cell.at_ms is not None:
        waited = line.cell.at_ms - line.event.time_ms
        emitted = max(0, int(((line.end or 0) - waited) / total_ms * width))
    style = STYLES.get(line.cell.state, "")
    return Text.assemble(
        " " * min(emitted, begin),
        ("─" * max(0, begin - emitted), "dim"),
        ("█" * (end - begin), style),
    )


def _after(ms: float | None) -> str:
    return "" if ms is None else f"+{duration(ms / 1000)}"
