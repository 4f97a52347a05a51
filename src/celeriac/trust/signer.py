"""Signing what is emitted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celeriac.errors import ConfigurationError
from celeriac.event.signature import attach, signing_input
from celeriac.extra import missing_extra
from celeriac.settings import Settings
from celeriac.trust.key import SIGNING, SecretKey, secret_keys

Signer = Callable[[bytes], bytes]


def make_signer(settings: Settings) -> Signer | None:
    """A function that signs an encoded event; None where no signing key is set.

    Raises ConfigurationError for a key that cannot be used, or where cryptography is missing.
    """
    if not settings.signing_key:
        return None
    keys = secret_keys(settings.signing_key, setting="CELERIAC_SIGNING_KEY", curve=SIGNING)
    if len(keys) != 1:
        raise ConfigurationError(
            f"CELERIAC_SIGNING_KEY has {len(keys)} keys; events are signed with one"
        )
    key = keys[0]
    private = _private(key)

    def sign(raw: bytes) -> bytes:
        message = signing_input(raw, key.id)
        return attach(message, private.sign(message))

    return sign


def _private(key: SecretKey) -> Any:
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    except ImportError:
        raise missing("CELERIAC_SIGNING_KEY") from None
    return Ed25519PrivateKey.from_private_bytes(key.secret)


def missing(setting: str) -> ConfigurationError:
    """What to say where the optional package is not installed."""
    return missing_extra(setting, "signing")
