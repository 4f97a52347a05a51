"""The data of the shop's events: the contract between its services.

An event carries all data that its handlers need, so that no handler needs to call another service.
A handler can read a part of it: `Event[OrderEvent]` reads every event about an order. `contracts/`
has the lock files of each service, for `python3 dev.py check contracts`.

Orders emits what it requests of the others (`payment.requested`), and they emit what became of it
(`payment.captured`).
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Struct

from celeriac import Sensitive
from celeriac.contract import contract, upcast


@contract("order.accepted", owner="orders")
@contract("order.paid", owner="orders")
@contract("order.cancelled", owner="orders")
@contract("order.completed", owner="orders")
@contract("payment.refund_requested", owner="orders")
@contract("stock.release_requested", owner="orders")
@contract("stock.reserved", owner="shipping")
@contract("stock.released", owner="shipping")
class OrderEvent(Struct, frozen=True, kw_only=True):
    """The fields that all events about an order have."""

    number: int
    email: Annotated[str, Sensitive]


@contract("order.placed", version=2, owner="orders")
class OrderPlaced(OrderEvent, frozen=True, kw_only=True):
    """`card` is the payment provider's token for a card, never its number."""

    card: Annotated[str, Sensitive]
    cents: int
    sku: str


@upcast("order.placed", 1)
def with_sku(data: dict[str, Any]) -> dict[str, Any]:
    """Version 1 had no SKU: the shop sold one product."""
    return data | {"sku": "SKU-000001"}


@contract("payment.requested", owner="orders")
class PaymentRequested(OrderEvent, frozen=True, kw_only=True):
    card: Annotated[str, Sensitive]
    cents: int


@contract("payment.captured", owner="billing")
class PaymentCaptured(OrderEvent, frozen=True, kw_only=True):
    receipt: str
    cents: int


@contract("payment.declined", owner="billing")
class PaymentDeclined(OrderEvent, frozen=True, kw_only=True):
    reason: str


@contract("payment.refunded", owner="billing")
class PaymentRefunded(OrderEvent, frozen=True, kw_only=True):
    receipt: str


@contract("stock.requested", owner="orders")
@contract("shipment.requested", owner="orders")
class ItemRequested(OrderEvent, frozen=True, kw_only=True):
    sku: str


@contract("stock.missing", owner="shipping")
@contract("shipment.failed", owner="shipping")
class ItemUnavailable(OrderEvent, frozen=True, kw_only=True):
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
    "order.accepted": OrderEvent,
    "order.paid": OrderEvent,
    "order.cancelled": OrderEvent,
    "order.completed": OrderEvent,
    "payment.requested": PaymentRequested,
    "payment.captured": PaymentCaptured,
    "payment.declined": PaymentDeclined,
    "payment.refund_requested": OrderEvent,
    "payment.refunded": PaymentRefunded,
    "stock.requested": ItemRequested,
    "stock.reserved": OrderEvent,
    "stock.missing": ItemUnavailable,
    "stock.release_requested": OrderEvent,
    "stock.released": OrderEvent,
    "shipment.requested": ItemRequested,
    "shipment.sent": ShipmentSent,
    "shipment.failed": ItemUnavailable,
    "product.repriced": ProductRepriced,
}
