"""A simulated payment provider. As with real providers, test cards select its behaviour."""

from __future__ import annotations

import os
from pathlib import Path

from celeriac import current_attempt

GOOD_CARD = "card_good"
DECLINED_CARD = "card_declined"
UNKNOWN_CARD = "card_unknown"
OUTAGE_CARD = "card_outage"  # the gateway is down for the first two attempts
OUTAGE_ATTEMPTS = 2
# The path of a file. Once the file exists, the provider accepts every card. The demo's key `f`
# creates it.
REPAIR_VARIABLE = "GATEWAY_REPAIRED"


class GatewayDown(ConnectionError):
    """The provider did not answer. A retry may succeed."""


class CardDeclined(Exception):
    """The bank declined the payment."""


class UnknownCard(Exception):
    """The provider has no such card until its records are repaired."""


def charge(card: str, cents: int, *, idempotency_key: str) -> str:
    """Charge the card once for each key, and return the receipt."""
    if card == OUTAGE_CARD and current_attempt() <= OUTAGE_ATTEMPTS:
        raise GatewayDown("payments.example.com:443 timed out")
    if card == UNKNOWN_CARD and not is_repaired():
        raise UnknownCard(f"no card {card!r}")
    if card == DECLINED_CARD:
        raise CardDeclined("insufficient funds")
    return f"receipt-{idempotency_key}"


def is_repaired() -> bool:
    """Return whether the provider's records are repaired."""
    path = os.environ.get(REPAIR_VARIABLE)
    return bool(path) and Path(path or "").exists()
