"""The orders in the summary: how they ended, two of them step by step, and the accounts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from celeriac.process import Status
from devtools.demo.accounts import Account
from devtools.demo.fulfilment import OrderCounts, OrderStory


def story_table(story: OrderStory) -> Table:
    """Return the steps of an order: each event that it handled, and what it emitted then."""
    reason = f": {story.reason}" if story.reason else ""
    table = _table()
    style = "green" if story.status is Status.COMPLETED else "yellow"
    table.add_column(story.key, no_wrap=True)
    table.add_column(Text("is", "dim"), no_wrap=True)
    table.add_column(Text(f"{story.status}{reason}", style))
    for handled, emitted in story.steps:
        table.add_row(handled, Text("→", "dim"), ", ".join(emitted))
    return table


def orders_table(orders: OrderCounts, aborted: Mapping[str, int]) -> Table:
    """Return the orders by how they ended. `aborted` is reason → number."""
    table = _table()
    table.add_column("orders")
    table.add_column("", justify="right")
    table.add_row("completed", f"{orders.completed:,}")
    for reason, number in aborted.items():
        table.add_row(f"aborted: {reason}", f"{number:,}")
    if orders.open:
        table.add_row("open", f"{orders.open:,}")
    return table


def accounts_table(accounts: Sequence[Account]) -> Table:
    """Return what the payment provider and the warehouse did, and undid."""
    table = _table()
    table.add_column("accounts")
    for name in ("kept", "undone", "prevented"):
        table.add_column(name, justify="right")
    for account in accounts:
        counts = (account.kept, account.undone, account.prevented)
        table.add_row(account.name, *[f"{count:,}" for count in counts])
    return table


def _table() -> Table:
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim")
