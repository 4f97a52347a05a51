"""Orders keeps the state of each order."""

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
    """Set the state of an order, and emit it.

    `ordered=True` runs the events of one order one at a time, across retries, within each domain:
    payment and shipment. Between the two domains there is no order, and the shop needs none.
    """
    state = STATES[event.type]
    logger.info("order %d is %s", event.data.number, state)
    bus.emit(f"order.{state}", event.data, subject=event.subject, id=f"{event.id}.{state}")
