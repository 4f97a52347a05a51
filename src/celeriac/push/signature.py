"""Signatures of requests by the Standard Webhooks specification, version 1: HMAC-SHA256."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
from collections.abc import Callable, Iterable, Sequence

from celeriac.errors import ConfigurationError
from celeriac.push.message import header_text

PREFIX = "whsec_"

# `whsec_…` texts, the newest first. A callable is called for each request.
Secrets = str | Sequence[str] | Callable[[], "str | Sequence[str]"]


def new_secret() -> str:
    """Return a new random secret of an endpoint: `whsec_…`, of 32 bytes."""
    return PREFIX + base64.b64encode(os.urandom(32)).decode()


def signature_headers(
    message_id: str, timestamp: int, body: bytes, secrets: Sequence[bytes]
) -> dict[str, str]:
    """Return `webhook-id`, `webhook-timestamp` and `webhook-signature`, one for each secret.

    `timestamp` is the time of this attempt in seconds: receivers refuse old ones.
    """
    # The signed text has dots between its parts.
    sent_id = header_text(message_id).replace(".", "%2E")
    signed = f"{sent_id}.{timestamp}.".encode() + body
    signatures = (hmac.digest(secret, signed, hashlib.sha256) for secret in secrets)
    return {
        "webhook-id": sent_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(
            f"v1,{base64.b64encode(signature).decode()}" for signature in signatures
        ),
    }


def read_secrets(secrets: Secrets | None, owner: str) -> list[bytes]:
    """Return the keys in the secrets of `owner`.

    Raises ConfigurationError, without any part of a secret, if one is invalid.
    """
    given = secrets() if callable(secrets) else secrets
    if not isinstance(given, str | bytes | Iterable | None):
        raise ConfigurationError(f"{owner}: secrets must be a text, or a list of texts")
    texts = [given] if isinstance(given, str | bytes) else list(given or ())
    return [_key(text, owner) for text in texts]


def _key(text: object, owner: str) -> bytes:
    try:
        if isinstance(text, str):
            key = base64.b64decode(text.removeprefix(PREFIX), validate=True)
            if key:
                return key
    except (binascii.Error, ValueError):
        pass
    # Not `from` the error above, whose context would be the secret.
    raise ConfigurationError(
        f"{owner}: a secret is invalid: it must be '{PREFIX}' and base64. Generate one with "
        "celeriac.push.new_secret()"
    ) from None
