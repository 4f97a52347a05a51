"""A frame of `top` for a terminal of any size; what has no room gives way, least needed first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from celeriac.circuit import CircuitState
from celeriac.cli.show import age
from celeriac.cli.top.view import HandlerRow, ServiceRow, View

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

Key = Callable[[HandlerRow], object]

# What rows can be sorted by: what is most of it comes first, names from A.
SORTS: Mapping[str, Key] = {
    "lag": lambda row: -row.lag,
    "oldest": lambda row: -(row.oldest_s or 0.0),
    "rate": lambda row: -row.rate,
    "failing": lambda row: -row.failing,
    "dead": lambda row: -row.dead,
    "run": lambda row: -(row.run_p95_s or 0.0),
    "name": lambda row: row.handler,
}


@dataclass(frozen=True, slots=True)
class Looks:
    """How it is looked at: the order, whose names are wanted, how far it is scrolled.

    `typing` is while the filter is typed in; `notice` is what keeps it from being up to date.
    """

    sort: str = "lag"
    filter: str = ""
    offset: int = 0
    typing: bool = False
    paused: bool = False
    help: bool = False
    notice: str = ""
    url: str = ""

    def chosen(self, view: View) -> list[HandlerRow]:
        """The rows that are wanted, in their order."""
        wanted = [row for row in view.handlers if self.filter.lower() in row.handler.lower()]
        key = SORTS[self.sort]
        return sorted(wanted, key=lambda row: (key(row), row.handler))

    def next_sort(self) -> Looks:
        names = list(SORTS)
        return replace(self, sort=names[(names.index(self.sort) + 1) % len(names)])


@dataclass(frozen=True, slots=True)
class Column:
    """`width` includes its gap; those of a high `rank` are the first to give way."""

    title: str
    width: int
    rank: int
    show: Callable[[HandlerRow], Text]


def still(view: View, looks: Looks, width: int) -> RenderableType:
    """A frame with all its rows, without the keys."""
    from rich.console import Group

    rows = looks.chosen(view)
    parts = [_title(view, looks, width), *_totals(view, width), *_services(view.services, width)]
    return Group(*(_cut(part, width) for part in [*parts, *_table(rows, looks.sort, width)]))


def screen(view: View | None, looks: Looks, width: int, height: int) -> RenderableType:
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
    body = _table(rows[offset : offset + room], looks.sort, width)
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


def _title(view: View, looks: Looks, width: int) -> Text:
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
        ("oldest", age(view.oldest_s) or "-", _age_style(view.oldest_s)),
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


def _columns() -> list[Column]:
    from rich.text import Text

    def plain(value: str, style: str = "") -> Text:
        return Text(value, style if value != "·" else "dim")

    def count(value: int, style: str = "") -> Text:
        return plain(number(value) if value else "·", style)

    return [
        Column("rate/s", 8, 0, lambda row: plain(number(row.rate) if row.rate else "·", "green")),
        Column(
            "fail/s", 8, 1, lambda row: plain(number(row.failing) if row.failing else "·", "red")
        ),
        Column("lag", 8, 0, lambda row: count(row.lag, "bold")),
        Column(
            "oldest", 9, 1, lambda row: plain(age(row.oldest_s) or "·", _age_style(row.oldest_s))
        ),
        Column("waiting", 9, 4, lambda row: count(row.waiting)),
        Column("queued", 8, 5, lambda row: count(row.queued)),
        Column("running", 9, 4, lambda row: count(row.running, "blue")),
        Column("due", 7, 3, lambda row: count(row.due, "yellow")),
        Column("parked", 8, 6, lambda row: count(row.parked, "yellow")),
        Column("dead", 7, 1, lambda row: count(row.dead, "red")),
        Column("run95", 9, 2, lambda row: plain(seconds(row.run_p95_s))),
        Column("wait95", 9, 3, lambda row: plain(seconds(row.wait_p95_s))),
    ]


def _table(rows: Sequence[HandlerRow], sort: str, width: int) -> list[Text]:
    """A line of titles, and one for each row."""
    from rich.text import Text

    names = [_name(row) for row in rows]
    widest = max([len("handler"), *(name.cell_len for name in names)]) + 2
    columns = _columns()
    while columns and sum(c.width for c in columns) + min(widest, 28) > width:
        columns.remove(max(columns, key=lambda column: column.rank))
    room = max(10, min(widest, width - sum(c.width for c in columns)))
    sorted_by = {"run": "run95", "failing": "fail/s", "rate": "rate/s", "name": "handler"}
    title = Text(f" {'handler':<{room - 1}}")
    for column in columns:
        title.append(f"{column.title:>{column.width}}")
    title.stylize("bold reverse")
    mark = sorted_by.get(sort, sort)
    at = title.plain.find(mark)
    if at >= 0:
        title.stylize("bold reverse cyan", at, at + len(mark))
    title.append(" " * max(0, width - title.cell_len), "reverse")
    lines = [title]
    for row, name in zip(rows, names, strict=True):
        name.truncate(room - 1, overflow="ellipsis", pad=True)
        line = Text(" ").append_text(name)
        for column in columns:
            cell = column.show(row)
            line.append(" " * max(1, column.width - cell.cell_len)).append_text(cell)
        lines.append(line)
    return lines


def _name(row: HandlerRow) -> Text:
    from rich.text import Text

    if not row.registered:
        return Text.assemble((row.handler, "yellow"), (" nobody's", "yellow"))
    if row.circuit is not CircuitState.CLOSED:
        return Text.assemble(row.handler, (f" {row.circuit}", "bold red"))
    return Text(row.handler)


def _keys(looks: Looks, width: int) -> Text:
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
 due              to be tried again later
 parked           behind an unfinished event of their subject
 dead             in dead letters now
 run95, wait95    95 % of runs, and of waits for the first, lately

 s  next order    l o r f d n  by lag, oldest, rate, failures, dead, name
 /  filter        ⎋  no filter    ?  back"""
    return [Text(line) for line in lines.split("\n")]


def number(value: float) -> str:
    """`0.4`, `12`, `1,234`, `56k`, `7.8M`."""
    if 0 < value < 10 and value != int(value):
        return f"{value:.1f}"
    if value < 10_000:
        return f"{value:,.0f}"
    return f"{value / 1000:.0f}k" if value < 1e6 else f"{value / 1e6:.1f}M"


def seconds(value: float | None) -> str:
    """`250 µs`, `12 ms`, `1.2 s`, `3 min`."""
    if value is None:
        return "·"
    if value < 0.001:
        return f"{value * 1e6:.0f} µs"
    if value < 1:
        return f"{value * 1000:.0f} ms"
    return f"{value:.1f} s" if value < 60 else age(value)


def _age_style(value: float | None) -> str:
    if value is None or value < 10:
        return ""
    return "yellow" if value < 60 else "red"
