"""Billing charges the card of each order."""

from __future__ import annotations

from celeriac import Event
from config import bus
from config.events import OrderPlaced, PaymentCaptured, PaymentDeclined
from handlers.gateway import CardDeclined, UnknownCard, charge


@bus.on("order.placed", retries=5, backoff=0.5, on_error={UnknownCard: None})
def charge_card(event: Event[OrderPlaced]) -> None:
    """Charge the card of an order.

    A declined payment is a result, so it becomes an event. An unreachable gateway is retried. An
    unknown card makes the delivery a dead letter at once, for an operator to fix.
    """
    order = event.data
    # Derived from the event's id, so a second run causes no second charge and no second event.
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
