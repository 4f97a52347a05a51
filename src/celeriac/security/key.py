"""Keys as JSON Web Keys (RFC 7517, RFC 8037): Ed25519 to sign, X25519 to encrypt.

A setting contains keys, or the path of a file or directory with keys. Four members are specific to
celeriac: `sources`, `types` and `tenants` restrict the events that a public key may sign, `service`
names the service that data can be encrypted for.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from celeriac.errors import ConfigurationError, SubscriptionError
from celeriac.event import Matcher, compile_patterns
from celeriac.event.signature import KEY_ID
from celeriac.tenant import tenants_fault

SIGNING, ENCRYPTION = "Ed25519", "X25519"
KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key. `sources`, `types` and `tenants` restrict the events it may sign; None means
    all. A key with tenants may not sign events without a tenant.

    `service` is the service that data can be encrypted for, by default the key's id.
    """

    id: str
    curve: str
    public: bytes
    sources: frozenset[str] | None = None
    types: Matcher | None = None
    tenants: frozenset[str] | None = None
    service: str = ""


@dataclass(frozen=True, slots=True)
class SecretKey:
    """A private key of this service."""

    id: str
    curve: str
    secret: bytes

    def __repr__(self) -> str:
        return f"SecretKey({self.id!r}, {self.curve})"


def public_keys(given: str, *, setting: str, curve: str) -> dict[str, PublicKey]:
    """Return id → key for the keys of a curve. Raises ConfigurationError."""
    keys: dict[str, PublicKey] = {}
    for where, member in _read(given, setting):
        key = _public(member, where)
        if key.curve != curve:
            continue
        if key.id in keys and keys[key.id].public != key.public:
            raise ConfigurationError(
                f"{where}: two keys have the id {key.id!r}. Give one of them another `kid`"
            )
        keys[key.id] = key
    return keys


def secret_keys(given: str, *, setting: str, curve: str) -> list[SecretKey]:
    """Return the private keys of a curve. Raises ConfigurationError without key material."""
    keys = []
    for where, member in _read(given, setting):
        id, actual = _identity(member, where)
        if actual != curve:
            raise ConfigurationError(
                f"{where}: the key {id!r} has the curve {actual}: must be {curve}"
            )
        if "d" not in member:
            raise ConfigurationError(f"{where}: the key {id!r} has no private part (`d`)")
        keys.append(SecretKey(id, actual, _bytes(member, "d", where)))
    return keys


def _read(given: str, setting: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield (location for messages, JWK) for each key in a setting."""
    if not given:
        return
    if given.lstrip().startswith("{"):
        yield from _keys(given, setting)
        return
    path = Path(given)
    if not path.exists():
        raise ConfigurationError(
            f"{setting}={given}: no such file or directory. Create a key with "
            "`celeriac keys generate`"
        )
    for file in sorted(path.glob("*.json")) if path.is_dir() else [path]:
        try:
            text = file.read_text("utf-8")
        except (OSError, UnicodeError) as error:
            raise ConfigurationError(f"{setting}: {file} cannot be read: {error}") from None
        yield from _keys(text, f"{setting}: {file}")


def _keys(text: str, where: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise ConfigurationError(f"{where} is not JSON: a key must be a JSON Web Key") from None
    keys = document.get("keys", [document]) if isinstance(document, dict) else [document]
    for key in keys if isinstance(keys, list) else [keys]:
        if not isinstance(key, dict):
            raise ConfigurationError(f"{where} contains something other than JSON Web Keys")
        yield where, key


def _identity(key: Mapping[str, Any], where: str) -> tuple[str, str]:
    id, curve = key.get("kid"), key.get("crv")
    if not isinstance(id, str) or not KEY_ID.fullmatch(id):
        raise ConfigurationError(
            f"{where}: a key needs an id (`kid`) of up to 64 letters, digits and _ . : -"
        )
    if key.get("kty") != "OKP" or curve not in (SIGNING, ENCRYPTION):
        raise ConfigurationError(
            f"{where}: the key {id!r} must have kty OKP, and crv {SIGNING} or {ENCRYPTION}"
        )
    return id, str(curve)


def _public(key: Mapping[str, Any], where: str) -> PublicKey:
    id, curve = _identity(key, where)
    sources, types = _names(key, "sources", where), _names(key, "types", where)
    try:
        matcher = None if types is None else compile_patterns(*types)
    except SubscriptionError as error:
        raise ConfigurationError(f"{where}: the key {id!r}: {error}") from None
    tenants = _names(key, "tenants", where)
    if tenants is not None and (fault := tenants_fault(tenants)):
        raise ConfigurationError(f"{where}: `tenants` of the key {id!r}: {fault}")
    service = key.get("service", id)
    if not isinstance(service, str):
        raise ConfigurationError(f"{where}: `service` of the key {id!r} must be a string")
    return PublicKey(
        id,
        curve,
        _bytes(key, "x", where),
        sources=None if sources is None else frozenset(sources),
        types=matcher,
        tenants=None if tenants is None else frozenset(tenants),
        service=service,
    )


def _names(key: Mapping[str, Any], member: str, where: str) -> list[str] | None:
    names = key.get(member)
    if names is None:
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ConfigurationError(f"{where}: `{member}` of a key must be a list of strings")
    return names


def _bytes(key: Mapping[str, Any], member: str, where: str) -> bytes:
    try:
        value = base64.urlsafe_b64decode(key[member].encode() + b"==")
    except (KeyError, AttributeError, UnicodeError, binascii.Error):
        value = b""
    if len(value) != KEY_BYTES:
        raise ConfigurationError(
            f"{where}: `{member}` of the key {key['kid']!r} must be {KEY_BYTES} bytes in base64url"
        )
    return value


def jwk(id: str, curve: str, *, public: bytes, secret: bytes | None = None) -> dict[str, Any]:
    """Return a key as a JSON Web Key."""
    key = {"kty": "OKP", "crv": curve, "kid": id, "x": _text(public)}
    return key if secret is None else {**key, "d": _text(secret)}


def _text(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
