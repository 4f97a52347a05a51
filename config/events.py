"""The data of the shop's events: the contract between its services.

An event carries all data that its handlers need, so that no handler needs to call another service.
A handler can read a part of it: `Event[OrderEvent]` reads every event about an order. `contracts/`
has the lock files of each service, for `python3 dev.py check contracts`.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Struct

from celeriac import Sensitive
from celeriac.contract import contract, upcast


@contract("order.paid", owner="orders")
@contract("order.cancelled", owner="orders")
@contract("order.completed", owner="orders")
class OrderEvent(Struct, frozen=True, kw_only=True):
    """The fields that all events about an order have."""

    number: int
    email: Annotated[str, Sensitive]


@contract("order.placed", owner="orders")
class OrderPlaced(OrderEvent, frozen=True, kw_only=True):
    """`card` is the payment provider's token for a card, never its number."""

    card: Annotated[str, Sensitive]
    cents: int


@contract("payment.captured", owner="billing")
class PaymentCaptured(OrderEvent, frozen=True, kw_only=True):
    receipt: str
    cents: int


@contract("payment.declined", owner="billing")
class PaymentDeclined(OrderEvent, frozen=True, kw_only=True):
    reason: str


@contract("shipment.sent", owner="shipping")
class ShipmentSent(OrderEvent, frozen=True, kw_only=True):
    tracking: str


@contract("product.repriced", version=2, owner="orders")
class ProductRepriced(Struct, frozen=True, kw_only=True):
    sku: str
    cents: int
    currency: str


@upcast("product.repriced", 1)
def with_currency(data: dict[str, Any]) -> dict[str, Any]:
    """Version 1 had no currency: all prices were in euros."""
    return data | {"currency": "EUR"}


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
