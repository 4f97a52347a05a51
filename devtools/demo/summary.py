"""What came of it, and whether that is right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from celeriac.tracking import Totals
from devtools.demo.watch import View


@dataclass(frozen=True, slots=True)
class Summary:
    """`totals` is the whole matrix, counted; `expected_dead` is what the cards of the orders say.

    `settled` tells whether the demo ran to its end; if not, something may be under way still.
    Once `repaired`, redriven letters are processed, and fewer may be dead than expected.
    """

    view: View
    totals: Totals
    expected_dead: int
    seconds: float
    settled: bool
    flower: str | None
    repaired: bool = False

    def faults(self) -> list[str]:
        """What is not as it should be."""
        found = []
        if self.totals.missing:
            found.append(f"{self.totals.missing} deliveries are missing")
        if self.settled and self.totals.waiting + self.totals.in_flight:
            found.append(f"{self.totals.waiting + self.totals.in_flight} are not dealt with")
        dead, expected = self.totals.dead, self.expected_dead
        if self.settled and (dead > expected if self.repaired else dead != expected):
            found.append(f"{self.totals.dead} are dead, {self.expected_dead} should be")
        return found

    def json(self) -> str:
        """One line."""
        view, totals = self.view, self.totals
        told: dict[str, Any] = {
            "emitted": view.orders,
            "events": totals.emitted,
            "expected": totals.expected,
            "processed": totals.processed,
            "retried": view.retried,
            "dead": totals.dead,
            "expected_dead": self.expected_dead,
            "missing": totals.missing,
            "in_flight": totals.waiting + totals.in_flight,
            "seconds": round(self.seconds, 3),
            "flower": self.flower,
            "handlers": {
                row.handler: {
                    "processed": row.processed,
                    "retried": row.retried,
                    "dead": row.dead,
                    "mean_us": row.mean_us,
                }
                for row in view.rows
            },
        }
        return msgspec.json.encode(told).decode()

    def print(self, *, stderr: bool) -> None:
        Console(stderr=stderr, highlight=False).print(self.render())

    def render(self) -> RenderableType:
        """For people."""
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_footer=True, header_style="dim")
        table.add_column("handler", "the matrix", footer_style="bold", no_wrap=True)
        totals, view = self.totals, self.view
        for name, total in (
            ("processed", totals.processed),
            ("retried", view.retried),
            ("dead", totals.dead),
            ("missing", totals.missing),
        ):
            table.add_column(name, f"{total:,}", footer_style="bold", justify="right")
        table.add_column("mean", justify="right")
        for row in view.rows:
            counts = (row.processed, row.retried, row.dead)
            table.add_row(row.handler, *[f"{n:,}" for n in counts], "", duration(row.mean_us))
        return Group(Text(""), self._headline(), table, self._verdict())

    def _headline(self) -> Text:
        view, rate = self.view, self.totals.processed / self.seconds if self.seconds else 0
        return Text.assemble(
            (f"{view.orders:,} orders", "bold"),
            f" became {self.totals.emitted:,} events and {self.totals.expected:,} deliveries "
            f"in {self.seconds:.1f} s ({rate:,.0f}/s)",
        )

    def _verdict(self) -> Text:
        faults = self.faults()
        if faults:
            return Text("✗ " + "; ".join(faults), "bold red")
        under_way = self.totals.waiting + self.totals.in_flight
        if under_way:
            return Text(f"✓ nothing is missing; {under_way:,} were still under way", "green")
        return Text("✓ every delivery is accounted for", "green")


def duration(us: float) -> str:
    """Microseconds in the unit that suits them."""
    if us < 1:
        return ""
    if us < 1000:
        return f"{us:.0f} µs"
    return f"{us / 1000:.1f} ms" if us < 1e6 else f"{us / 1e6:.1f} s"
