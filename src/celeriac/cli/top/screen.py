"""Draw a frame of `top` for a terminal of any size."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from celeriac.cli.show import duration
from celeriac.cli.top.table import age_style, number, table
from celeriac.cli.top.view import ServiceRow, View
from celeriac.cli.top.view_options import ViewOptions

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text


def still(view: View, options: ViewOptions, width: int) -> RenderableType:
    """Return a frame with all its rows, without the keys."""
    from rich.console import Group

    rows = options.chosen(view)
    parts = [_title(view, options, width), *_totals(view, width), *_services(view.services, width)]
    return Group(*(_cut(part, width) for part in [*parts, *table(rows, options.sort, width)]))


def screen(view: View | None, options: ViewOptions, width: int, height: int) -> RenderableType:
    """Return the screen, at most `height` lines of at most `width` columns."""
    from rich.console import Group
    from rich.text import Text

    if view is None:
        return Text(options.notice or "reading …", "red" if options.notice else "dim")
    top = [_title(view, options, width), *_totals(view, width), *_services(view.services, width)]
    bottom = [_keys(options, width)]
    rows = options.chosen(view)
    visible = max(1, height - len(top) - len(bottom) - 2)
    offset = max(0, min(options.offset, len(rows) - visible))
    body = table(rows[offset : offset + visible], options.sort, width)
    if not rows:
        message = (
            f"no handler name contains {options.filter!r}" if options.filter else "no handlers yet"
        )
        body.append(Text(f" {message}", "dim"))
    hidden = len(rows) - offset - visible
    more = Text(f" ↓ {hidden} more" if hidden > 0 else "", "dim")
    blank = [Text("")] * max(0, height - len(top) - len(body) - len(bottom) - 1)
    parts = [*top, *body, more, *blank, *bottom] if not options.help else [*top, *_help(), *bottom]
    return Group(*(_cut(part, width) for part in parts[:height]))


def _cut(line: Text, width: int) -> Text:
    line.no_wrap, line.overflow = True, "ellipsis"
    line.truncate(width, overflow="ellipsis")
    return line


def _title(view: View, options: ViewOptions, width: int) -> Text:
    from rich.text import Text

    at = datetime.fromtimestamp(view.at_ms / 1000, UTC)
    title = Text.assemble((" celeriac top", "bold green"), (f"  {options.url}", "dim"))
    if options.notice:
        title = Text.assemble((" celeriac top", "bold green"), (f"  {options.notice}", "bold red"))
    clock = Text.assemble(("paused  ", "yellow") if options.paused else "", f"{at:%H:%M:%S} UTC ")
    title.truncate(max(14, width - clock.cell_len - 1), overflow="ellipsis")
    title.append(" " * max(1, width - title.cell_len - clock.cell_len))
    return title.append_text(clock)


def _totals(view: View, width: int) -> list[Text]:
    from rich.text import Text

    facts = [
        ("emitted", f"{number(view.emitted)}/s", ""),
        ("processed", f"{number(view.rate)}/s", "green" if view.rate else ""),
        ("failed", f"{number(view.failing)}/s", "red" if view.failing else ""),
        ("unfinished", number(view.lag), ""),
        ("oldest", duration(view.oldest_s, missing="-"), age_style(view.oldest_s)),
        ("dead letters", number(view.dead), "red" if view.dead else ""),
        ("log", number(view.length), ""),
    ]
    if view.delayed:
        facts.append(("delayed", number(view.delayed), ""))
    return _side_by_side(
        [Text.assemble((f"{name} ", "dim"), (value, style)) for name, value, style in facts], width
    )


def _services(services: Sequence[ServiceRow], width: int) -> list[Text]:
    from rich.text import Text

    parts = []
    for service in services:
        state = f"{service.workers}×{service.processes // max(1, service.workers)}"
        style = "green"
        if not service.workers:
            state, style = "no worker", "bold red" if service.lag else "yellow"
        parts.append(Text.assemble((f"{service.service} ", "bold"), (state, style)))
    return _side_by_side(parts, width)


def _side_by_side(parts: Sequence[Text], width: int) -> list[Text]:
    """Return the parts side by side, in as few lines as possible."""
    from rich.text import Text

    lines = [Text(" ")]
    for part in parts:
        if lines[-1].cell_len > 1 and lines[-1].cell_len + part.cell_len + 3 > width:
            lines.append(Text(" "))
        if lines[-1].cell_len > 1:
            lines[-1].append("   ")
        lines[-1].append_text(part)
    return lines


def _keys(options: ViewOptions, width: int) -> Text:
    from rich.text import Text

    if options.typing:
        return Text.assemble(
            (" filter: ", "bold"), options.filter, ("▏", "blink"), ("  ⏎ done", "dim")
        )
    keys = [
        ("q", "quit"),
        ("s", f"sort: {options.sort}"),
        ("/", f"filter: {options.filter or '-'}"),
    ]
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
 lag              unfinished deliveries: waiting to blocked
 oldest           age of the oldest unfinished delivery
 waiting          in the log, not fetched for the handler yet
 queued, running  with a worker
 scheduled        to run at a later time: retries and requeued deliveries
 blocked          waiting for their key, for example behind their sequence
 dead             dead letters now
 run95, wait95    95th percentile of runs, and of waits for the first run, lately

 s  next sort order    l o r f d n  by lag, oldest, rate, failures, dead, name
 /  filter             ⎋  no filter    ?  back"""
    return [Text(line) for line in lines.split("\n")]
