"""A simulated payment provider. As with real providers, test cards select its behaviour."""

from __future__ import annotations

from celeriac import current_attempt
from handlers.sandbox import Cancelled, Sandbox

GOOD_CARD = "card_good"
DECLINED_CARD = "card_declined"
UNKNOWN_CARD = "card_unknown"
OUTAGE_CARD = "card_outage"  # the gateway is down for the first two attempts
OUTAGE_ATTEMPTS = 2

payments = Sandbox("payment")
repairs = Sandbox("repair")


class GatewayDown(ConnectionError):
    """The provider did not answer. A retry may succeed."""


class CardDeclined(Exception):
    """The bank declined the payment, or the payment was cancelled."""


class UnknownCard(Exception):
    """The provider has no such card until its records are repaired."""


def charge(card: str, cents: int, *, payment: str) -> str:
    """Charge the card once for each payment, and return the receipt.

    Raises CardDeclined also for a payment that was refunded before it was made.
    """
    if card == OUTAGE_CARD and current_attempt() <= OUTAGE_ATTEMPTS:
        raise GatewayDown("payments.example.com:443 timed out")
    if card == UNKNOWN_CARD and not is_repaired():
        raise UnknownCard(f"no card {card!r}")
    if card == DECLINED_CARD:
        raise CardDeclined("insufficient funds")
    try:
        payments.do(payment)
    except Cancelled as cancelled:
        raise CardDeclined(str(cancelled)) from None
    return receipt(payment)


def refund(payment: str) -> str | None:
    """Cancel a payment. Return the receipt if the card was charged, else None. Idempotent."""
    return receipt(payment) if payments.cancel(payment) else None


def receipt(payment: str) -> str:
    """Return the receipt of a payment."""
    return f"receipt-{payment}"


def repair() -> None:
    """Make the provider accept every card from now on. Idempotent. The demo's key `f` calls it."""
    repairs.do("gateway")


def is_repaired() -> bool:
    """Return whether the provider accepts every card."""
    return repairs.is_done("gateway")
