"""Verification of signatures, before a handler runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from celeriac.errors import ConfigurationError, UntrustedEvent
from celeriac.event import decode
from celeriac.event.merkle import MAX_SIZE, leaf_hash, root_of, signed_root
from celeriac.event.signature import Signed, split
from celeriac.security.key import SIGNING, PublicKey, public_keys
from celeriac.security.signer import missing
from celeriac.security.verified import VerifiedCache
from celeriac.settings import Settings
from celeriac.tenant import is_excluded


class Addressed(Protocol):
    """The attributes that decide which keys may sign an event: an Event or an EventHeader."""

    @property
    def source(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def tenant(self) -> str | None: ...


Verifier = Callable[[bytes, Addressed, str], None]


def make_verifier(settings: Settings) -> Verifier:
    """Return a function that raises UntrustedEvent unless an event has a valid signature.

    It takes the event's bytes, its addressing, and the domain of its event log. Raises
    ConfigurationError for invalid keys, or if cryptography is missing.
    """
    keys = public_keys(settings.trusted_keys, setting="CELERIAC_TRUSTED_KEYS", curve=SIGNING)
    if not keys:
        raise ConfigurationError(
            "CELERIAC_TRUSTED_KEYS has no Ed25519 key, but handlers require signatures. Create a "
            "key with `celeriac keys generate`"
        )
    is_genuine = _make_signature_check(keys)

    def verify(raw: bytes, event: Addressed, domain: str) -> None:
        signed = split(raw)
        if signed is None:
            raise UntrustedEvent(_unsigned(raw))
        key = keys.get(signed.key_id)
        if key is None:
            raise UntrustedEvent(
                f"untrusted: its key {signed.key_id!r} is not among CELERIAC_TRUSTED_KEYS, which "
                f"has {', '.join(sorted(keys))}"
            )
        message = _signed_bytes(signed)
        if message is None:
            raise UntrustedEvent(_wrong_proof(signed))
        if not is_genuine(signed, message):
            raise UntrustedEvent(
                f"untrusted: its signature is not valid for the key {key.id!r}; the event was "
                "modified after it was signed, or another key signed it"
            )
        if event.type.partition(".")[0] != domain:
            raise UntrustedEvent(f"untrusted: {event.type} does not belong to the domain {domain}")
        if not _may_sign(key, event):
            raise UntrustedEvent(
                f"untrusted: the key {key.id!r} is not trusted for {event.type} of {event.source}"
            )
        if is_excluded(event.tenant, key.tenants):
            what = "events without a tenant" if event.tenant is None else f"tenant {event.tenant}"
            raise UntrustedEvent(f"untrusted: the key {key.id!r} is not trusted for {what}")

    return verify


def _signed_bytes(signed: Signed) -> bytes | None:
    """Return the bytes that the signature must cover; None for an invalid proof."""
    if signed.proof is None:
        return signed.message
    root = root_of(leaf_hash(signed.message), signed.proof)
    return None if root is None else signed_root(root, signed.proof.size)


def _make_signature_check(keys: Mapping[str, PublicKey]) -> Callable[[Signed, bytes], bool]:
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError:
        raise missing("CELERIAC_TRUSTED_KEYS") from None
    known: dict[str, Any] = {
        id: Ed25519PublicKey.from_public_bytes(key.public) for id, key in keys.items()
    }

    verified = VerifiedCache()

    def is_genuine(signed: Signed, message: bytes) -> bool:
        is_batch = signed.proof is not None
        # Everything that the result depends on.
        signature_key = signed.key_id, signed.signature, message
        if is_batch and signature_key in verified:
            return True
        try:
            known[signed.key_id].verify(signed.signature, message)
        except InvalidSignature:
            return False
        if is_batch:
            verified.add(signature_key)
        return True

    return is_genuine


def _unsigned(raw: bytes) -> str:
    if decode(raw).signature is None:
        return "untrusted: it is not signed, but the handler requires a signature"
    return "untrusted: it does not end with a key id and a signature"


def _wrong_proof(signed: Signed) -> str:
    assert signed.proof is not None
    position, size, path = signed.proof
    return (
        f"untrusted: a path of {len(path)} bytes does not lead from event {position} of {size} "
        f"to the signature of their batch, which may have at most {MAX_SIZE} events"
    )


def _may_sign(key: PublicKey, event: Addressed) -> bool:
    if key.sources is not None and event.source not in key.sources:
        return False
    return key.types is None or key.types.matches(event.type)
