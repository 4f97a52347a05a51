"""Billing charges the card of each order."""

from __future__ import annotations

from celeriac import Event
from config import bus
from config.events import OrderPlaced, PaymentCaptured, PaymentDeclined
from handlers.gateway import CardDeclined, UnknownCard, charge


@bus.on("order.placed", retries=5, backoff=0.5, on_error={UnknownCard: None})
def charge_card(event: Event[OrderPlaced]) -> None:
    """Charges the card of an order.

    That the bank declines is an answer, so it becomes an event. A gateway that is down is tried
    again, and a card that the gateway does not know is dead at once: someone must look at it.
    """
    order = event.data
    # What is derived from the event's id is the same if this runs twice: one charge, one event.
    once = f"{event.id}.payment"
    try:
        receipt = charge(order.card, order.cents, idempotency_key=once)
    except CardDeclined as declined:
        payment = PaymentDeclined(number=order.number, email=order.email, reason=str(declined))
        bus.emit("payment.declined", payment, subject=event.subject, id=once)
    else:
        captured = PaymentCaptured(
            number=order.number, email=order.email, receipt=receipt, cents=order.cents
        )
        bus.emit("payment.captured", captured, subject=event.subject, id=once)
