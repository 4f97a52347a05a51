"""What the events of the shop say: the contract between its services.

An event carries what its handlers need, so that none of them has to ask another service. A handler
may take a part of it: `Event[OrderEvent]` reads every event about an order.
"""

from __future__ import annotations

from msgspec import Struct


class OrderEvent(Struct, frozen=True, kw_only=True):
    """What all events about an order have."""

    number: int
    email: str


class OrderPlaced(OrderEvent, frozen=True, kw_only=True):
    """`card` is the payment provider's token for a card, never its number."""

    card: str
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
