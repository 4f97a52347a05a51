"""Signing of emitted events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from celeriac.errors import ConfigurationError
from celeriac.event.merkle import build_tree, leaf_hash, signed_root
from celeriac.event.signature import attach, attach_proofs, signing_input
from celeriac.extra import missing_extra
from celeriac.security.key import SIGNING, SecretKey, secret_keys
from celeriac.settings import Settings

# Events under one root. A tree of twice the size adds 43 bytes to each event and a hash to its
# verification; one of half the size doubles the verified signatures: see docs/adr/0028.
MAX_BATCH = 64


class Signer:
    """Signs encoded events with one key. Thread-safe."""

    def __init__(self, key: SecretKey) -> None:
        self._key_id, self._private = key.id, _private(key)

    def sign(self, raw: bytes) -> bytes:
        """Return the event with a signature."""
        message = signing_input(raw, self._key_id)
        return attach(message, self._private.sign(message))

    def sign_many(self, raws: Sequence[bytes]) -> list[bytes]:
        """Return the events in their order, with one signature for each MAX_BATCH of them.

        Each verifies without the others.
        """
        signed: list[bytes] = []
        for start in range(0, len(raws), MAX_BATCH):
            signed += self._sign_batch(raws[start : start + MAX_BATCH])
        return signed

    def _sign_batch(self, raws: Sequence[bytes]) -> list[bytes]:
        if len(raws) == 1:
            return [self.sign(raws[0])]
        messages = [signing_input(raw, self._key_id) for raw in raws]
        root, paths = build_tree(map(leaf_hash, messages))
        return attach_proofs(messages, paths, self._private.sign(signed_root(root, len(raws))))


def make_signer(settings: Settings) -> Signer | None:
    """Return the signer of encoded events; None without a signing key.

    Raises ConfigurationError for an invalid key, or if cryptography is missing.
    """
    if not settings.signing_key:
        return None
    keys = secret_keys(settings.signing_key, setting="CELERIAC_SIGNING_KEY", curve=SIGNING)
    if len(keys) != 1:
        raise ConfigurationError(
            f"CELERIAC_SIGNING_KEY has {len(keys)} keys: must have exactly one"
        )
    return Signer(keys[0])


def _private(key: SecretKey) -> Any:
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    except ImportError:
        raise missing("CELERIAC_SIGNING_KEY") from None
    return Ed25519PrivateKey.from_private_bytes(key.secret)


def missing(setting: str) -> ConfigurationError:
    """Return the error for the missing optional package."""
    return missing_extra(setting, "signing")
