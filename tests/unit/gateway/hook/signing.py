"""Requests as the vendors sign them, by their published algorithms, not by our code."""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime

from standardwebhooks import Webhook as Library

NOW = 1_780_000_000


def mac(secret: str, text: bytes) -> str:
    return hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()


def stripe(body: bytes, *secrets: str, at: int = NOW) -> dict[str, str]:
    signatures = ",".join(f"v1={mac(secret, f'{at}.'.encode() + body)}" for secret in secrets)
    return {"stripe-signature": f"t={at},{signatures},v0=0123"}


def github(body: bytes, secret: str, event: str, id: str) -> dict[str, str]:
    return {
        "x-hub-signature-256": f"sha256={mac(secret, body)}",
        "x-github-event": event,
        "x-github-delivery": id,
        "content-type": "application/json",
    }


def slack(body: bytes, secret: str, at: int = NOW) -> dict[str, str]:
    return {
        "x-slack-signature": f"v0={mac(secret, f'v0:{at}:'.encode() + body)}",
        "x-slack-request-timestamp": str(at),
    }


def standard(body: bytes, secret: str, id: str, at: int = NOW) -> dict[str, str]:
    """Signed by the library of Standard Webhooks."""
    signature = Library(secret).sign(id, datetime.fromtimestamp(at, UTC), body.decode())
    return {"webhook-id": id, "webhook-timestamp": str(at), "webhook-signature": signature}
