"""A simulated warehouse. SKUs select its behaviour, as the cards of the payment provider do."""

from __future__ import annotations

from handlers.sandbox import Cancelled, Sandbox

SOLD_OUT_SKU = "SKU-SOLD-OUT"
DAMAGED_SKU = "SKU-DAMAGED"  # in stock, but broken when it is packed

reservations = Sandbox("reservation")


class Unavailable(Exception):
    """The item cannot be reserved or sent."""


def reserve(sku: str, *, order: str) -> None:
    """Reserve an item once for each order. Raises Unavailable, also after `release`."""
    if sku == SOLD_OUT_SKU:
        raise Unavailable("sold out")
    try:
        reservations.do(order)
    except Cancelled as cancelled:
        raise Unavailable(str(cancelled)) from None


def release(order: str) -> bool:
    """Cancel a reservation; return whether an item was reserved. Idempotent."""
    return reservations.cancel(order)


def send(sku: str, *, order: str) -> str:
    """Send the reserved item, and return the tracking number. Raises Unavailable."""
    if sku == DAMAGED_SKU:
        raise Unavailable("damaged")
    if not reservations.is_done(order):
        raise Unavailable(f"no item is reserved for {order}")
    return f"CEL{order.rpartition('/')[2]:0>9}"
