"""What the events of the shop say: the contract between its services.

An event carries what its handlers need, so that none of them has to ask another service. A handler
may take a part of it: `Event[OrderEvent]` reads every event about an order.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Struct

from celeriac import Sensitive


class OrderEvent(Struct, frozen=True, kw_only=True):
    """What all events about an order have."""

    number: int
    email: Annotated[str, Sensitive]


class OrderPlaced(OrderEvent, frozen=True, kw_only=True):
    """`card` is the payment provider's token for a card, never its number."""

    card: Annotated[str, Sensitive]
    cents: int


class PaymentCaptured(OrderEvent, frozen=True, kw_only=True):
    receipt: str
    cents: int


class PaymentDeclined(OrderEvent, frozen=True, kw_only=True):
    reason: str


class ShipmentSent(OrderEvent, frozen=True, kw_only=True):
    tracking: str


class ProductRepriced(Struct, frozen=True, kw_only=True):
    sku: str
    cents: int


EVENTS = {
    "order.placed": OrderPlaced,
    "order.paid": OrderEvent,
    "order.cancelled": OrderEvent,
    "order.completed": OrderEvent,
    "payment.captured": PaymentCaptured,
    "payment.declined": PaymentDeclined,
    "shipment.sent": ShipmentSent,
    "product.repriced": ProductRepriced,
}
