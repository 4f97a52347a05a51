"""Place orders."""

from __future__ import annotations

import random

from config import app, bus
from config.events import OrderPlaced
from handlers.gateway import DECLINED_CARD, GOOD_CARD, OUTAGE_CARD, UNKNOWN_CARD
from handlers.warehouse import DAMAGED_SKU, SOLD_OUT_SKU


@app.task
def place_order(number: int) -> str:
    """Place an order, and return the id of its event."""
    order = OrderPlaced(
        number=number,
        email=f"customer{number}@example.com",
        card=card_of(number),
        cents=1990 + number % 7 * 500,
        sku=sku_of(number),
    )
    return bus.emit("order.placed", order, subject=f"order/{number}")


@app.task
def serve_customer() -> str:
    """Place an order. Celery beat calls this, because the shop has no web page."""
    event_id: str = place_order(random.randint(1, 1_000_000))
    return event_id


def card_of(number: int) -> str:
    """Return the card for an order.

    Of 100 orders, 2 become dead letters, 5 are declined and 10 meet an outage of the gateway. Those
    with a dead letter are aborted at their deadline.
    """
    if number % 50 == 0:
        return UNKNOWN_CARD
    if number % 20 == 7:
        return DECLINED_CARD
    return OUTAGE_CARD if number % 10 == 3 else GOOD_CARD


def sku_of(number: int) -> str:
    """Return the product of an order. Of 60 orders, 3 are sold out and 2 are damaged."""
    if number % 20 == 11:
        return SOLD_OUT_SKU
    return DAMAGED_SKU if number % 30 == 19 else f"SKU-{number % 500:06}"
