"""Shipping sends the parcels of paid orders."""

from __future__ import annotations

import logging

from celeriac import Event
from config import bus
from config.events import PaymentCaptured, ShipmentSent

logger = logging.getLogger(__name__)


@bus.on("payment.captured")
def send_parcel(event: Event[PaymentCaptured]) -> None:
    """Send the parcel of a paid order."""
    paid = event.data
    shipment = ShipmentSent(number=paid.number, email=paid.email, tracking=f"CEL{paid.number:09}")
    logger.info("order %d goes out as %s", shipment.number, shipment.tracking)
    bus.emit("shipment.sent", shipment, subject=event.subject, id=f"{event.id}.shipment")
