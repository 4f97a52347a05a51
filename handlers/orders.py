"""Orders knows how far each order has come."""

from __future__ import annotations

import logging

from celeriac import Event
from config import bus
from config.events import OrderEvent

log = logging.getLogger(__name__)

STATES = {
    "payment.captured": "paid",
    "payment.declined": "cancelled",
    "shipment.sent": "completed",
}


@bus.on(*STATES, ordered=True)
def advance(event: Event[OrderEvent]) -> None:
    """Moves an order on, and says so. `ordered`: the events of one order one after the other."""
    state = STATES[event.type]
    log.info("order %d is %s", event.data.number, state)
    bus.emit(f"order.{state}", event.data, subject=event.subject, id=f"{event.id}.{state}")
