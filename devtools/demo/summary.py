"""The summary of a run of the demo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import msgspec
from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from celeriac.time_text import run_time
from celeriac.tracking import Totals
from devtools.demo.accounts import Account, account_faults
from devtools.demo.fulfilment import OrderStory
from devtools.demo.order_table import accounts_table, orders_table, story_table
from devtools.demo.watch import View


@dataclass(frozen=True, slots=True)
class Summary:
    """The counts of a run.

    `totals` counts the whole matrix. `expected_dead` is the number of orders with an unknown card.
    `finished` is false if the user ended the demo before all deliveries were finished. Once the
    gateway is `repaired`, redriven dead letters are processed, so fewer may be dead than expected.
    `aborted` is reason → number of orders.
    """

    view: View
    totals: Totals
    expected_dead: int
    seconds: float
    finished: bool
    flower: str | None
    repaired: bool = False
    aborted: Mapping[str, int] = field(default_factory=dict)
    examples: Sequence[OrderStory] = ()
    accounts: Sequence[Account] = ()

    def faults(self) -> list[str]:
        """Return what is wrong."""
        faults = []
        if self.totals.missing:
            faults.append(f"{self.totals.missing} deliveries are missing")
        if self.finished and self.totals.waiting + self.totals.in_flight:
            faults.append(f"{self.totals.waiting + self.totals.in_flight} are not finished")
        dead, expected = self.totals.dead, self.expected_dead
        if self.finished and (dead > expected if self.repaired else dead != expected):
            faults.append(f"{self.totals.dead} are dead instead of {self.expected_dead}")
        if self.finished:
            faults += account_faults(self.accounts, self.view.fulfilment, self.view.rows)
        return faults

    def json(self) -> str:
        """Return the summary as one line of JSON."""
        view, totals = self.view, self.totals
        document: dict[str, Any] = {
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
            "orders": {**asdict(view.fulfilment), "reasons": self.aborted},
            "accounts": {account.name: asdict(account) for account in self.accounts},
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
        return msgspec.json.encode(document).decode()

    def print(self, *, stderr: bool) -> None:
        Console(stderr=stderr, highlight=False).print(self.render())

    def render(self) -> RenderableType:
        """Return the summary for a terminal."""
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
            table.add_row(
                row.handler, *[f"{n:,}" for n in counts], "", run_time(round(row.mean_us))
            )
        stories = [story_table(story) for story in self.examples]
        orders = orders_table(view.fulfilment, self.aborted)
        accounts = [accounts_table(self.accounts)] if self.accounts else []
        return Group(Text(""), self._headline(), table, *stories, orders, *accounts, self._result())

    def _headline(self) -> Text:
        return Text.assemble(
            (f"{self.view.orders:,} orders", "bold"),
            f" became {self.totals.emitted:,} events and {self.totals.expected:,} deliveries "
            f"in {self.seconds:.1f} s, deadlines included",
        )

    def _result(self) -> Text:
        faults = self.faults()
        if faults:
            return Text("✗ " + "; ".join(faults), "bold red")
        under_way = self.totals.waiting + self.totals.in_flight
        if under_way:
            return Text(f"✓ no delivery is missing; {under_way:,} were unfinished", "green")
        if not self.view.fulfilment.is_finished:
            open_orders = f"{self.view.fulfilment.open:,} orders are open"
            return Text(f"✓ every delivery is accounted for; {open_orders}", "green")
        return Text("✓ every delivery and every undo is accounted for", "green")
