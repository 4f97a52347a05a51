"""Encryption of the data of emitted events."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from celeriac.errors import EncryptionError
from celeriac.event import Event, encode_data
from celeriac.event.build import BINARY
from celeriac.event.encrypted import ENCRYPTED, binding
from celeriac.security.key import ENCRYPTION, PublicKey, public_keys
from celeriac.security.signer import missing
from celeriac.settings import Settings

Encrypter = Callable[[Event[Any], Sequence[str]], Event[Any]]


def make_encrypter(settings: Settings) -> Encrypter:
    """Return a function that returns an event with its data encrypted for the named services.

    It raises EncryptionError for a service without a key, InvalidData for data without a JSON
    form. Raises ConfigurationError for invalid keys, or if cryptography is missing.
    """
    try:
        from celeriac.security.jwe import encrypt
    except ImportError:
        raise missing("encrypt_for") from None
    keys = public_keys(settings.trusted_keys, setting="CELERIAC_TRUSTED_KEYS", curve=ENCRYPTION)

    def encrypted(event: Event[Any], services: Sequence[str]) -> Event[Any]:
        chosen = [key for name in dict.fromkeys(services) for key in _keys_of(name, keys)]
        header: dict[str, Any] = {}
        if event.datacontenttype is not None:
            header["cty"] = event.datacontenttype
        if isinstance(event.data, BINARY):
            header["binary"] = True
            plain = bytes(event.data)
        else:
            plain = encode_data(event)
        jwe = encrypt(plain, chosen, aad=binding(event), header=header)
        return replace(event, datacontenttype=ENCRYPTED, data=msgspec.Raw(msgspec.json.encode(jwe)))

    return encrypted


def _keys_of(name: str, keys: Mapping[str, PublicKey]) -> list[PublicKey]:
    """Return all keys of a service: it has two during a key rotation."""
    service_keys = [key for key in keys.values() if key.service == name]
    if not service_keys:
        known = ", ".join(sorted({key.service for key in keys.values()})) or "none"
        raise EncryptionError(
            f"encrypt_for={name!r}: CELERIAC_TRUSTED_KEYS has no X25519 key of that service, only "
            f"of {known}. Create a key with `celeriac keys generate {name} --encryption`"
        )
    return service_keys
