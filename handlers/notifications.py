"""Notifications sends mails to customers about their orders."""

from __future__ import annotations

import asyncio
import logging

from celeriac import Event
from config import bus
from config.events import OrderEvent

logger = logging.getLogger(__name__)

MAILS = {
    "order.placed": "Thank you for order {number}",
    "payment.captured": "Order {number} is paid",
    "payment.declined": "Your bank declined the payment of order {number}",
    "payment.refunded": "Your money for order {number} is on its way back",
    "shipment.sent": "Order {number} is on its way",
    "order.cancelled": "Order {number} is cancelled",
}


@bus.on(*MAILS)
async def send_mail(event: Event[OrderEvent]) -> None:
    """Send a mail to the customer. A pause simulates the mail server."""
    await asyncio.sleep(0.002)
    mail = MAILS[event.type].format(number=event.data.number)
    logger.info("to %s: %s", event.data.email, mail)
