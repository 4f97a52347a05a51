"""Generation of keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from celeriac.errors import ConfigurationError
from celeriac.event import compile_patterns
from celeriac.event.signature import KEY_ID
from celeriac.security.key import ENCRYPTION, SIGNING, jwk
from celeriac.security.signer import missing
from celeriac.tenant import tenants_fault


def generate(
    id: str,
    *,
    sources: Sequence[str] = (),
    types: Sequence[str] = (),
    tenants: Sequence[str] = (),
    encryption: bool = False,
    service: str = "",
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a new key as two JSON Web Keys: the private and the public one.

    Args:
        id: Names the key in events: up to 64 letters, digits and `_ . : -`.
        sources: The sources that the public key is trusted for. Default: all.
        types: The patterns of types that it is trusted for. Default: all.
        tenants: The tenants that it is trusted for. Default: all, and events without a tenant.
        encryption: Make an X25519 key to encrypt for, instead of an Ed25519 key to sign with.
        service: The service that data is encrypted for. Default: the id.

    Raises:
        ConfigurationError: The id, a pattern or a tenant is invalid, or `cryptography` is not
            installed.
    """
    if not KEY_ID.fullmatch(id):
        raise ConfigurationError(
            f"key id {id!r}: must have 1 to 64 letters, digits and _ . : -, e.g. 'billing-2026'"
        )
    if types:
        compile_patterns(*types)
    if fault := tenants_fault(tenants):
        raise ConfigurationError(f"key {id!r}: tenants: {fault}")
    curve = ENCRYPTION if encryption else SIGNING
    secret, public = _pair(curve)
    restrictions: dict[str, Any] = {"service": service} if service else {}
    signed = {"sources": sources, "types": types, "tenants": tenants}
    restrictions |= {name: [*names] for name, names in signed.items() if names}
    return jwk(id, curve, public=public, secret=secret), jwk(
        id, curve, public=public
    ) | restrictions


def _pair(curve: str) -> tuple[bytes, bytes]:
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
    except ImportError:
        raise missing("a key") from None
    kind: Any = Ed25519PrivateKey if curve == SIGNING else X25519PrivateKey
    private = kind.generate()
    return private.private_bytes_raw(), private.public_key().public_bytes_raw()
