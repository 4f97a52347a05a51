"""Billing charges the cards of orders, and refunds them."""

from __future__ import annotations

from celeriac import Event
from config import bus
from config.events import (
    OrderEvent,
    PaymentCaptured,
    PaymentDeclined,
    PaymentRefunded,
    PaymentRequested,
)
from handlers.gateway import CardDeclined, UnknownCard, charge, refund


@bus.on("payment.requested", retries=5, backoff=0.5, on_error={UnknownCard: None})
def charge_card(event: Event[PaymentRequested]) -> None:
    """Charge the card of an order.

    A declined payment is a result, so it becomes an event. An unreachable gateway is retried. An
    unknown card makes the delivery a dead letter at once, for an operator to fix.
    """
    order = event.data
    # Derived from the event's id, so a second run causes no second event.
    once = f"{event.id}.payment"
    try:
        receipt = charge(order.card, order.cents, payment=payment_of(order))
    except CardDeclined as declined:
        payment = PaymentDeclined(number=order.number, email=order.email, reason=str(declined))
        bus.emit("payment.declined", payment, subject=event.subject, id=once)
    else:
        captured = PaymentCaptured(
            number=order.number, email=order.email, receipt=receipt, cents=order.cents
        )
        bus.emit("payment.captured", captured, subject=event.subject, id=once)


@bus.on("payment.refund_requested", retries=5, backoff=0.5)
def refund_payment(event: Event[OrderEvent]) -> None:
    """Refund the payment of an order. If the card was not charged yet, it never will be."""
    order = event.data
    receipt = refund(payment_of(order))
    if receipt is not None:
        refunded = PaymentRefunded(number=order.number, email=order.email, receipt=receipt)
        bus.emit("payment.refunded", refunded, subject=event.subject, id=f"{event.id}.refund")


def payment_of(order: OrderEvent) -> str:
    """Return the key of an order's payment at the provider."""
    return f"order/{order.number}"
