"""The accounts of the payment provider and the warehouse, to compare with the orders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from devtools.demo.fulfilment import OrderCounts
from devtools.demo.watch import HandlerRow


@dataclass(frozen=True, slots=True)
class Account:
    """One kind of operation. `kept` were done and not undone; `prevented` were undone before.

    `handler` is the handler of its undo events.
    """

    name: str
    handler: str
    kept: int
    undone: int
    prevented: int


def read_accounts() -> list[Account]:
    """Return the accounts. Blocks for the database of the simulation."""
    # They read the environment that the demo has set.
    from handlers.gateway import payments
    from handlers.warehouse import reservations

    kinds = (
        ("payments", "billing.refund_payment", payments.counts()),
        ("reservations", "shipping.release_stock", reservations.counts()),
    )
    return [
        Account(name, handler, counts["done"], counts["undone"], counts["cancelled"])
        for name, handler, counts in kinds
    ]


def account_faults(
    accounts: Sequence[Account], orders: OrderCounts, rows: Sequence[HandlerRow]
) -> Iterator[str]:
    """Yield how the accounts differ from the orders, which have all ended. Pure.

    Each completed order has one payment and one reservation, and no aborted one has any. Each undo
    event has undone or prevented one.
    """
    processed = {row.handler: row.processed for row in rows}
    for account in accounts:
        if account.kept != orders.completed:
            yield f"{account.kept} {account.name} for {orders.completed} completed orders"
        undone, requested = account.undone + account.prevented, processed.get(account.handler, 0)
        if undone != requested:
            yield f"{undone} {account.name} undone, but {requested} requested"
        if account.name == "payments" and requested != orders.aborted:
            yield f"{requested} refunds for {orders.aborted} aborted orders"
