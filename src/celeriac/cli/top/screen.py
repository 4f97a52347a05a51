"""A frame of `top` for a terminal of any size."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from celeriac.cli.show import age
from celeriac.cli.top.table import age_style, number, table
from celeriac.cli.top.view import ServiceRow, View
from celeriac.cli.top.view_options import ViewOptions

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text


def still(view: View, looks: ViewOptions, width: int) -> RenderableType:
    """A frame with all its rows, without the keys."""
    from rich.console import Group

    rows = looks.chosen(view)
    parts = [_title(view, looks, width), *_totals(view, width), *_services(view.services, width)]
    return Group(*(_cut(part, width) for part in [*parts, *table(rows, looks.sort, width)]))


def screen(view: View | None, looks: ViewOptions, width: int, height: int) -> RenderableType:
    """The whole screen, no higher than `height` and no wider than `width`."""
    from rich.console import Group
    from rich.text import Text

    if view is None:
        return Text(looks.notice or "reading …", "red" if looks.notice else "dim")
    top = [_title(view, looks, width), *_totals(view, width), *_services(view.services, width)]
    bottom = [_keys(looks, width)]
    rows = looks.chosen(view)
    room = max(1, height - len(top) - len(bottom) - 2)
    offset = max(0, min(looks.offset, len(rows) - room))
    body = table(rows[offset : offset + room], looks.sort, width)
    if not rows:
        said = f"no handler is named like {looks.filter!r}" if looks.filter else "no handlers yet"
        body.append(Text(f" {said}", "dim"))
    hidden = len(rows) - offset - room
    more = Text(f" ↓ {hidden} more" if hidden > 0 else "", "dim")
    blank = [Text("")] * max(0, height - len(top) - len(body) - len(bottom) - 1)
    parts = [*top, *body, more, *blank, *bottom] if not looks.help else [*top, *_help(), *bottom]
    return Group(*(_cut(part, width) for part in parts[:height]))


def _cut(line: Text, width: int) -> Text:
    line.no_wrap, line.overflow = True, "ellipsis"
    line.truncate(width, overflow="ellipsis")
    return line


def _title(view: View, looks: ViewOptions, width: int) -> Text:
    from rich.text import Text

    at = datetime.fromtimestamp(view.at_ms / 1000, UTC)
    left = Text.assemble((" celeriac top", "bold green"), (f"  {looks.url}", "dim"))
    if looks.notice:
        left = Text.assemble((" celeriac top", "bold green"), (f"  {looks.notice}", "bold red"))
    right = Text.assemble(("paused  ", "yellow") if looks.paused else "", f"{at:%H:%M:%S} UTC ")
    left.truncate(max(14, width - right.cell_len - 1), overflow="ellipsis")
    left.append(" " * max(1, width - left.cell_len - right.cell_len))
    return left.append_text(right)


def _totals(view: View, width: int) -> list[Text]:
    from rich.text import Text

    facts = [
        ("emitted", f"{number(view.emitted)}/s", ""),
        ("processed", f"{number(view.rate)}/s", "green" if view.rate else ""),
        ("failed", f"{number(view.failing)}/s", "red" if view.failing else ""),
        ("unfinished", number(view.lag), ""),
        ("oldest", age(view.oldest_s) or "-", age_style(view.oldest_s)),
        ("dead letters", number(view.dead), "red" if view.dead else ""),
        ("log", number(view.length), ""),
    ]
    if view.postponed:
        facts.append(("postponed", number(view.postponed), ""))
    return _flow(
        [Text.assemble((f"{name} ", "dim"), (value, style)) for name, value, style in facts], width
    )


def _services(services: Sequence[ServiceRow], width: int) -> list[Text]:
    from rich.text import Text

    parts = []
    for one in services:
        state = f"{one.workers}×{one.processes // max(1, one.workers)}"
        style = "green"
        if not one.workers:
            state, style = "no worker", "bold red" if one.lag else "yellow"
        parts.append(Text.assemble((f"{one.service} ", "bold"), (state, style)))
    return _flow(parts, width)


def _flow(parts: Sequence[Text], width: int) -> list[Text]:
    """Side by side, in as few lines as they need."""
    from rich.text import Text

    lines = [Text(" ")]
    for part in parts:
        if lines[-1].cell_len > 1 and lines[-1].cell_len + part.cell_len + 3 > width:
            lines.append(Text(" "))
        if lines[-1].cell_len > 1:
            lines[-1].append("   ")
        lines[-1].append_text(part)
    return lines


def _keys(looks: ViewOptions, width: int) -> Text:
    from rich.text import Text

    if looks.typing:
        return Text.assemble(
            (" filter: ", "bold"), looks.filter, ("▏", "blink"), ("  ⏎ done", "dim")
        )
    keys = [("q", "quit"), ("s", f"sort: {looks.sort}"), ("/", f"filter: {looks.filter or '-'}")]
    keys += [("␣", "pause"), ("↑↓", "scroll"), ("?", "help")]
    line = Text(" ")
    for key, what in keys:
        if line.cell_len + len(key) + len(what) + 4 > width:
            break
        line.append(key, "bold").append(f" {what}   ", "dim")
    return line


def _help() -> list[Text]:
    from rich.text import Text

    lines = """
 rate/s, fail/s   deliveries processed, attempts failed, since the last reading
 lag              unfinished deliveries: all that is in the next six
 oldest           age of the oldest unfinished one
 waiting          in the log, not given to the handler yet
 queued, running  with a worker
 scheduled        to run at a later time: retries and requeued deliveries
 blocked          behind an unfinished event of their subject
 dead             in dead letters now
 run95, wait95    95 % of runs, and of waits for the first, lately

 s  next order    l o r f d n  by lag, oldest, rate, failures, dead, name
 /  filter        ⎋  no filter    ?  back"""
    return [Text(line) for line in lines.split("\n")]
