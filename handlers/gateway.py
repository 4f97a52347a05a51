"""The payment provider, played. As with real ones, test cards say how it behaves."""

from __future__ import annotations

import os
from pathlib import Path

from celeriac import current_attempt

GOOD_CARD = "card_good"
DECLINED_CARD = "card_declined"
UNKNOWN_CARD = "card_unknown"
OUTAGE_CARD = "card_outage"  # the gateway is down for the first two attempts
OUTAGE_ATTEMPTS = 2
# A file; once it exists, the provider knows every card. The demo's key `f` creates it.
REPAIR_VARIABLE = "GATEWAY_REPAIRED"


class GatewayDown(ConnectionError):
    """It did not answer; it may the next time."""


class CardDeclined(Exception):
    """The bank's answer is no."""


class UnknownCard(Exception):
    """It has no such card, and will not have it until the provider repairs its records."""


def charge(card: str, cents: int, *, idempotency_key: str) -> str:
    """Charges the card, once for each key, and returns the receipt."""
    if card == OUTAGE_CARD and current_attempt() <= OUTAGE_ATTEMPTS:
        raise GatewayDown("payments.example.com:443 timed out")
    if card == UNKNOWN_CARD and not is_repaired():
        raise UnknownCard(f"no card {card!r}")
    if card == DECLINED_CARD:
        raise CardDeclined("insufficient funds")
    return f"receipt-{idempotency_key}"


def is_repaired() -> bool:
    """Whether the provider's records were repaired, so that it knows every card."""
    path = os.environ.get(REPAIR_VARIABLE)
    return bool(path) and Path(path or "").exists()
