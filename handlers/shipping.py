"""Shipping reserves the items of paid orders, and sends them."""

from __future__ import annotations

import logging

from celeriac import Event
from config import bus
from config.events import ItemRequested, ItemUnavailable, OrderEvent, ShipmentSent
from handlers import warehouse

logger = logging.getLogger(__name__)


@bus.on("stock.requested", retries=5)
def reserve_stock(event: Event[ItemRequested]) -> None:
    """Reserve the item of an order. A sold-out item is a result, so it becomes an event."""
    order, once = event.data, f"{event.id}.stock"
    try:
        warehouse.reserve(order.sku, order=order_key(order))
    except warehouse.Unavailable as error:
        missing = ItemUnavailable(number=order.number, email=order.email, reason=str(error))
        bus.emit("stock.missing", missing, subject=event.subject, id=once)
    else:
        reserved = OrderEvent(number=order.number, email=order.email)
        bus.emit("stock.reserved", reserved, subject=event.subject, id=once)


@bus.on("stock.release_requested", retries=5)
def release_stock(event: Event[OrderEvent]) -> None:
    """Release the item of an order. If it was not reserved yet, it never will be."""
    if warehouse.release(order_key(event.data)):
        bus.emit("stock.released", event.data, subject=event.subject, id=f"{event.id}.released")


@bus.on("shipment.requested", retries=5)
def send_parcel(event: Event[ItemRequested]) -> None:
    """Send the reserved item of an order."""
    order, once = event.data, f"{event.id}.shipment"
    try:
        tracking = warehouse.send(order.sku, order=order_key(order))
    except warehouse.Unavailable as error:
        failed = ItemUnavailable(number=order.number, email=order.email, reason=str(error))
        bus.emit("shipment.failed", failed, subject=event.subject, id=once)
        return
    shipment = ShipmentSent(number=order.number, email=order.email, tracking=tracking)
    logger.info("order %d goes out as %s", shipment.number, shipment.tracking)
    bus.emit("shipment.sent", shipment, subject=event.subject, id=once)


def order_key(order: OrderEvent) -> str:
    """Return the key of an order at the warehouse."""
    return f"order/{order.number}"
