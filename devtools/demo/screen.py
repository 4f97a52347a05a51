"""The demo's screen in a terminal, and its lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from types import TracebackType

from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from celeriac.time_text import run_time
from devtools.demo.failures import Failure
from devtools.demo.watch import HandlerRow, View

WIDE = 108
BARS = " ▁▂▃▄▅▆▇"


class Screen:
    """A live screen in a terminal; elsewhere a line every two seconds. Writes to stderr."""

    def __init__(
        self, addresses: Callable[[], Sequence[tuple[str, str]]], console: Console | None = None
    ) -> None:
        self.console = console or Console(stderr=True, highlight=False)
        self.addresses = addresses
        self._started = self._reported = time.monotonic()
        self._live = (
            Live(console=self.console, screen=True, auto_refresh=False)
            if self.console.is_terminal
            else None
        )

    def report(self, what: str) -> None:
        """Show what the demo waits for."""
        if self._live is not None:
            self._live.update(Padding(Text(what, "dim"), (1, 2)), refresh=True)
        else:
            print(f"demo: {what}", file=sys.stderr, flush=True)

    def show(self, view: View, missing: int | None, failures: Sequence[Failure]) -> None:
        """Show the counts. `missing` is None until the first count."""
        now = time.monotonic()
        if self._live is not None:
            seconds = now - self._started
            self._live.update(
                page(view, missing, failures, self.addresses(), seconds, self.console.width),
                refresh=True,
            )
        elif now - self._reported >= 2:
            self._reported = now
            self.report(line(view, missing))

    def __enter__(self) -> Screen:
        if self._live is not None:
            self._live.start()
        else:
            for name, where in self.addresses():
                self.report(f"{name}: {where}")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()


def line(view: View, missing: int | None) -> str:
    """Return the counts as one line for a log."""
    return (
        f"{view.orders} orders, {view.events} events, {view.processed} processed, "
        f"{view.unfinished} unfinished, {view.retried} retried, {view.dead} dead, "
        f"{_count(missing)} missing, {view.fulfilment}"
    )


def page(
    view: View,
    missing: int | None,
    failures: Sequence[Failure],
    addresses: Sequence[tuple[str, str]],
    seconds: float,
    width: int,
) -> RenderableType:
    """Return the whole screen for a terminal of this width, at most 24 lines high."""
    parts = [
        _title(seconds, view),
        Rule(style="dim"),
        _tiles(view, missing, wide=width >= WIDE),
        Text(""),
        _table(view.rows, wide=width >= WIDE),
        Text(""),
        Text("LATEST FAILURES", "dim"),
        _failures(failures, 3),
        Rule(style="dim"),
        _footer(addresses),
    ]
    return Padding(Group(*parts), (0, 2))


def _title(seconds: float, view: View) -> Table:
    minutes, rest = divmod(int(seconds), 60)
    title = Table.grid(expand=True)
    title.add_column()
    title.add_column(justify="center")
    title.add_column(justify="right")
    title.add_row(
        Text.assemble(("celeriac", "bold green"), ("  a shop of five services", "dim")),
        Text(view.fulfilment.ended),
        Text(f"{minutes}:{rest:02}", "dim"),
    )
    return title


def _tiles(view: View, missing: int | None, *, wide: bool) -> Table:
    tiles: list[tuple[str, str, str]] = [
        ("orders", f"{view.orders:,}", "bold"),
        ("events", f"{view.events:,}", "bold"),
        ("processed", f"{view.processed:,}", "bold"),
        ("retried", f"{view.retried:,}", "bold yellow" if view.retried else "bold"),
        ("dead", f"{view.dead:,}", "bold red" if view.dead else "bold"),
        ("missing", _count(missing), "bold red" if missing else "bold green"),
    ]
    grid = Table.grid(expand=True)
    for _ in tiles:
        grid.add_column(ratio=1)
    cells = [Text(name, "dim") for name, _, _ in tiles]
    numbers = [Text(value, style) for _, value, style in tiles]
    if wide:
        grid.add_column(width=30)
        rate = view.rates[-1] if view.rates else 0
        cells.append(Text(f"{rate:,.0f} a second", "dim"))
        numbers.append(Text(curve(view.rates, 30), "green"))
    grid.add_row(*cells)
    grid.add_row(*numbers)
    return grid


def _table(rows: Sequence[HandlerRow], *, wide: bool) -> Table:
    table = Table(box=None, expand=True, pad_edge=False, header_style="dim")
    table.padding = (0, 2, 0, 0) if wide else (0, 1, 0, 0)
    table.add_column("HANDLER", no_wrap=True, ratio=1)
    for name in ("waiting", "in flight", "scheduled", "processed", "retried", "dead"):
        table.add_column(name, justify="right", no_wrap=True)
    if wide:
        table.add_column("per second", justify="right", no_wrap=True)
        table.add_column("mean", justify="right", no_wrap=True, min_width=7)
    for row in rows:
        cells = [
            _number(row.waiting),
            _number(row.in_flight),
            _number(row.scheduled, "yellow"),
            Text(f"{row.processed:,}"),
            _number(row.retried, "yellow"),
            _number(row.dead, "red"),
        ]
        if wide:
            cells += [_number(round(row.rate)), Text(run_time(round(row.mean_us)), "dim")]
        table.add_row(_handler(row.handler), *cells)
    return table


def _handler(handler: str) -> Text:
    service, _, name = handler.partition(".")
    return Text.assemble((f"{service}.", "dim"), (name, "bold"))


def _number(value: int, style: str = "") -> Text:
    """Return a number; zeros are dim, so that the others are easy to see."""
    return Text(f"{value:,}", style) if value else Text("·", "dim")


def _failures(failures: Sequence[Failure], lines: int) -> Table:
    table = Table(box=None, expand=True, pad_edge=False, show_header=False)
    table.padding = (0, 2, 0, 0)
    for _ in range(3):
        table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, ratio=1, overflow="ellipsis")
    shown = [*reversed(failures)][:lines]
    for failure in shown:
        dead = failure.then == "dead"
        table.add_row(
            Text(failure.at, "dim"),
            Text(failure.handler),
            Text("dead", "red") if dead else Text(failure.then, "yellow"),
            Text(failure.error, "dim"),
        )
    for _ in range(lines - len(shown)):
        table.add_row("", "", "", "")
    return table


def _footer(addresses: Sequence[tuple[str, str]]) -> RenderableType:
    return Columns(
        [Text.assemble((f"{name} ", "dim"), where) for name, where in addresses], padding=(0, 3)
    )


def curve(values: Sequence[float], width: int) -> str:
    """Return the last values as a row of bars."""
    last = list(values)[-width:]
    maximum = max(last, default=0.0)
    if maximum <= 0:
        return ""
    return "".join(BARS[round(value / maximum * (len(BARS) - 1))] for value in last)


def _count(number: int | None) -> str:
    return "…" if number is None else f"{number:,}"
