"""Orders knows how far each order has come."""

from __future__ import annotations

import logging

from celeriac import Event
from config import bus
from config.events import OrderEvent

logger = logging.getLogger(__name__)

STATES = {
    "payment.captured": "paid",
    "payment.declined": "cancelled",
    "shipment.sent": "completed",
}


@bus.on(*STATES, ordered=True)
def advance(event: Event[OrderEvent]) -> None:
    """Moves an order on, and says so.

    `ordered`: what payment says of one order comes one after the other, also across retries, and
    so does what shipment says. Between the two domains there is no order, and none is needed.
    """
    state = STATES[event.type]
    logger.info("order %d is %s", event.data.number, state)
    bus.emit(f"order.{state}", event.data, subject=event.subject, id=f"{event.id}.{state}")
