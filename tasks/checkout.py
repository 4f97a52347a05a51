"""The till: where orders come from."""

from __future__ import annotations

import random

from config import app, bus
from config.events import OrderPlaced
from handlers.gateway import DECLINED_CARD, GOOD_CARD, OUTAGE_CARD, UNKNOWN_CARD


@app.task
def place_order(number: int) -> str:
    """Takes an order; returns the id of the event. Who reacts to it is not the till's business."""
    order = OrderPlaced(
        number=number,
        email=f"customer{number}@example.com",
        card=card_of(number),
        cents=1990 + number % 7 * 500,
    )
    return bus.emit("order.placed", order, subject=f"order/{number}")


@app.task
def serve_customer() -> str:
    """Takes an order every time that beat calls, for a shop without a web page."""
    event_id: str = place_order(random.randint(1, 1_000_000))
    return event_id


def card_of(number: int) -> str:
    """The customers' cards: of a hundred orders two are dead and five declined, and for ten the
    gateway has an outage."""
    if number % 50 == 0:
        return UNKNOWN_CARD
    if number % 20 == 7:
        return DECLINED_CARD
    return OUTAGE_CARD if number % 10 == 3 else GOOD_CARD
