"""Signatures of webhooks: HMAC-SHA256 over the bytes that were received."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable, Mapping, Sequence

from celeriac.errors import ConfigurationError, UntrustedEvent
from celeriac.gateway.token import MIN_SECRET, Secrets

TOLERANCE = 300.0  # seconds
MAX_SIGNATURES = 20  # of one request


def check_secrets(secrets: Secrets, owner: str) -> None:
    """Raise ConfigurationError, without a secret, unless each is a text. Calls no callable."""
    if not callable(secrets):
        keys_of(secrets, owner)


def keys_of(secrets: Secrets, owner: str) -> list[bytes]:
    """Return the bytes of each secret. Raises ConfigurationError, without a secret."""
    given: object = secrets() if callable(secrets) else secrets
    texts = [given] if isinstance(given, str) else given
    if (
        not isinstance(texts, Sequence)
        or not texts
        or not all(isinstance(text, str) and text for text in texts)
    ):
        raise ConfigurationError(
            f"{owner}: the secret is missing. Pass the one that the sender shows, or a list of them"
        )
    if any(len(text) < MIN_SECRET for text in texts):
        raise ConfigurationError(
            f"{owner}: a secret is too short: it must have {MIN_SECRET} characters or more. Pass "
            "the one that the sender shows; where you choose it, generate one with `openssl rand "
            "-hex 32`"
        )
    return [text.encode() for text in texts]


def check_tolerance(tolerance: object, owner: str) -> None:
    """Raise ConfigurationError unless it is a number of seconds above 0, and at most a day."""
    is_number = isinstance(tolerance, int | float) and not isinstance(tolerance, bool)
    if not is_number or not 0 < tolerance <= 86_400:  # type: ignore[operator]
        raise ConfigurationError(
            f"{owner}: tolerance={tolerance!r}: must be a number of seconds above 0, at most 86400"
        )


def header(headers: Mapping[str, str], name: str) -> str:
    """Return a header. Raises UntrustedEvent if it is missing: the request is not signed."""
    value = headers.get(name, "")
    if not value:
        raise UntrustedEvent(f"the header {name!r} is missing")
    return value


def check_timestamp(text: str, now: float, tolerance: float) -> None:
    """Raise UntrustedEvent unless a time in seconds is within `tolerance` of now."""
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise UntrustedEvent("the timestamp of the signature is not a number of seconds")
    if abs(now - int(text)) > tolerance:
        raise UntrustedEvent(f"the timestamp of the signature is over {tolerance:g} s off")


def verify(
    keys: Iterable[bytes],
    signed: bytes,
    given: Sequence[str],
    form: Callable[[bytes], str],
) -> None:
    """Raise UntrustedEvent unless one of the given signatures was made with one of the keys.

    `form` is the text of a digest. All pairs are compared, each in constant time.
    """
    is_valid = False
    for key in keys:
        expected = form(hmac.digest(key, signed, hashlib.sha256)).encode()
        for text in given:
            # `|` evaluates both sides.
            is_valid |= hmac.compare_digest(expected, text.encode("utf-8", "surrogatepass"))
    if not is_valid:
        raise UntrustedEvent("the signature does not match")
