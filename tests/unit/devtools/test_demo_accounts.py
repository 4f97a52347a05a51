from __future__ import annotations

from dataclasses import replace

import pytest

from devtools.demo.accounts import Account, account_faults
from devtools.demo.fulfilment import OrderCounts
from devtools.demo.watch import HandlerRow

ORDERS = OrderCounts(completed=51, aborted=9)
PAYMENTS = Account("payments", "billing.refund_payment", kept=51, undone=5, prevented=4)
STOCK = Account("reservations", "shipping.release_stock", kept=51, undone=2, prevented=3)
ROWS = [
    HandlerRow("billing.refund_payment", 0, 0, 0, 9, 0, 0, 900),
    HandlerRow("shipping.release_stock", 0, 0, 0, 5, 0, 0, 900),
]


def test_accounts_that_match_the_orders_have_no_fault() -> None:
    assert [] == list(account_faults([PAYMENTS, STOCK], ORDERS, ROWS))


@pytest.mark.parametrize(
    ("account", "faults"),
    [
        (replace(STOCK, kept=52), ["52 reservations for 51 completed orders"]),
        (replace(STOCK, undone=1), ["4 reservations undone, but 5 requested"]),
        (replace(PAYMENTS, prevented=5), ["10 payments undone, but 9 requested"]),
    ],
)
def test_a_difference_is_named(account: Account, faults: list[str]) -> None:
    assert faults == list(account_faults([account], ORDERS, ROWS))


def test_an_aborted_order_without_a_refund_is_named() -> None:
    orders = replace(ORDERS, aborted=10)
    assert ["9 refunds for 10 aborted orders"] == list(account_faults([PAYMENTS], orders, ROWS))
