"""Verifying who signed an event, before anything of it is run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from celeriac.errors import ConfigurationError, UntrustedEvent
from celeriac.event import RawEvent
from celeriac.event.signature import Signed, split
from celeriac.settings import Settings
from celeriac.trust.key import SIGNING, PublicKey, public_keys
from celeriac.trust.signer import missing

Verifier = Callable[[bytes, RawEvent, str], None]


def make_verifier(settings: Settings) -> Verifier:
    """A function that raises UntrustedEvent unless an event may be run.

    It takes the event's bytes, what they decode to, and the domain of the log that held it.
    Raises ConfigurationError for keys that cannot be used, or where cryptography is missing.
    """
    keys = public_keys(settings.trusted_keys, setting="CELERIAC_TRUSTED_KEYS", curve=SIGNING)
    if not keys:
        raise ConfigurationError(
            "signatures are demanded, and CELERIAC_TRUSTED_KEYS has no Ed25519 key: no event would "
            "be trusted. `celeriac keys generate` makes one"
        )
    is_genuine = _check_of(keys)

    def verify(raw: bytes, event: RawEvent, domain: str) -> None:
        signed = split(raw)
        if signed is None:
            raise UntrustedEvent(_unsigned(event))
        key = keys.get(signed.key_id)
        if key is None:
            raise UntrustedEvent(
                f"untrusted: its key {signed.key_id!r} is not among CELERIAC_TRUSTED_KEYS, which "
                f"has {', '.join(sorted(keys))}"
            )
        if not is_genuine(signed):
            raise UntrustedEvent(
                f"untrusted: its signature is not one of the key {key.id!r}; the event was changed "
                "after it was signed, or another key signed it"
            )
        if event.domain != domain:
            raise UntrustedEvent(
                f"untrusted: {event.type} does not belong into the log of {domain}"
            )
        if not _may_sign(key, event):
            raise UntrustedEvent(
                f"untrusted: the key {key.id!r} may not sign {event.type} of {event.source}"
            )

    return verify


def _check_of(keys: Mapping[str, PublicKey]) -> Callable[[Signed], bool]:
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError:
        raise missing("CELERIAC_TRUSTED_KEYS") from None
    known: dict[str, Any] = {
        id: Ed25519PublicKey.from_public_bytes(key.public) for id, key in keys.items()
    }

    def is_genuine(signed: Signed) -> bool:
        try:
            known[signed.key_id].verify(signed.signature, signed.message)
        except InvalidSignature:
            return False
        return True

    return is_genuine


def _unsigned(event: RawEvent) -> str:
    if event.signature is None:
        return "untrusted: it is not signed, and the handler demands a signature"
    return "untrusted: it does not end with its key id and a signature, as a signed event does"


def _may_sign(key: PublicKey, event: RawEvent) -> bool:
    if key.sources is not None and event.source not in key.sources:
        return False
    return key.types is None or key.types.matches(event.type)
