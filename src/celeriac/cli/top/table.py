"""Draw the rows of the handlers; narrow windows omit the least important columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from celeriac.circuit_breaker import CircuitState
from celeriac.cli.show import duration
from celeriac.cli.top.view import HandlerRow

if TYPE_CHECKING:
    from rich.text import Text


@dataclass(frozen=True, slots=True)
class Column:
    """A column. `width` includes its gap; columns of a high `rank` are omitted first."""

    title: str
    width: int
    rank: int
    show: Callable[[HandlerRow], Text]


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
            "oldest",
            9,
            1,
            lambda row: plain(duration(row.oldest_s, missing="·"), age_style(row.oldest_s)),
        ),
        Column("waiting", 9, 4, lambda row: count(row.waiting)),
        Column("queued", 8, 5, lambda row: count(row.queued)),
        Column("running", 9, 4, lambda row: count(row.running, "blue")),
        Column("scheduled", 11, 3, lambda row: count(row.scheduled, "yellow")),
        Column("blocked", 9, 6, lambda row: count(row.blocked, "yellow")),
        Column("dead", 7, 1, lambda row: count(row.dead, "red")),
        Column("run95", 9, 2, lambda row: plain(duration(row.run_p95_s, missing="·"))),
        Column("wait95", 9, 3, lambda row: plain(duration(row.wait_p95_s, missing="·"))),
    ]


def table(rows: Sequence[HandlerRow], sort: str, width: int) -> list[Text]:
    """Return a line of titles, and a line for each row."""
    from rich.text import Text

    names = [_name(row) for row in rows]
    widest = max([len("handler"), *(name.cell_len for name in names)]) + 2
    columns = _columns()
    while columns and sum(c.width for c in columns) + min(widest, 28) > width:
        columns.remove(max(columns, key=lambda column: column.rank))
    name_width = max(10, min(widest, width - sum(c.width for c in columns)))
    sorted_by = {"run": "run95", "failing": "fail/s", "rate": "rate/s", "name": "handler"}
    title = Text(f" {'handler':<{name_width - 1}}")
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
        name.truncate(name_width - 1, overflow="ellipsis", pad=True)
        line = Text(" ").append_text(name)
        for column in columns:
            cell = column.show(row)
            line.append(" " * max(1, column.width - cell.cell_len)).append_text(cell)
        lines.append(line)
    return lines


def _name(row: HandlerRow) -> Text:
    from rich.text import Text

    if not row.registered:
        return Text.assemble((row.handler, "yellow"), (" orphaned", "yellow"))
    if row.circuit is not CircuitState.CLOSED:
        return Text.assemble(row.handler, (f" {row.circuit}", "bold red"))
    return Text(row.handler)


def number(value: float) -> str:
    """Return, for example, `0.4`, `12`, `1,234`, `56k` or `7.8M`."""
    if 0 < value < 10 and value != int(value):
        return f"{value:.1f}"
    if value < 10_000:
        return f"{value:,.0f}"
    return f"{value / 1000:.0f}k" if value < 1e6 else f"{value / 1e6:.1f}M"


def age_style(value: float | None) -> str:
    if value is None or value < 10:
        return ""
    return "yellow" if value < 60 else "red"
