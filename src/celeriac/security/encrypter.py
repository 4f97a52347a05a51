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
from celeriac.security.subject_key import SubjectKey, SubjectKeys
from celeriac.security.subject_recipient import split_recipients
from celeriac.settings import Settings

Encrypter = Callable[[Event[Any], Sequence[str]], Event[Any]]


def make_encrypter(settings: Settings, subject_keys: SubjectKeys | None = None) -> Encrypter:
    """Return a function that returns an event with its data encrypted for the named recipients.

    These are services, and at most one subject: then the data is encrypted for the services first,
    and the result for the subject's key. Both are needed to read it.

    It raises EncryptionError for a service without a key, SubjectErased for a subject whose key was
    erased, and InvalidData for data without a JSON form. Raises ConfigurationError for invalid
    keys, or if cryptography is missing.
    """
    try:
        from celeriac.security.jwe import encrypt
    except ImportError:
        raise missing("encrypt_for") from None
    keys = public_keys(settings.trusted_keys, setting="CELERIAC_TRUSTED_KEYS", curve=ENCRYPTION)

    def encrypted(event: Event[Any], recipients: Sequence[str]) -> Event[Any]:
        services, subject = split_recipients(event, recipients)
        if services:
            chosen = [key for name in dict.fromkeys(services) for key in _keys_of(name, keys)]
            event = encrypted_with(event, chosen)
        if subject is None:
            return event
        if subject_keys is None:
            raise EncryptionError(
                "encrypt_for has a subject, but the bus has no store of their keys. Pass "
                "subject_keys=... to its EventBus"
            )
        return encrypted_with(event, subject_keys.key_of(subject))

    def encrypted_with(event: Event[Any], chosen: Sequence[PublicKey] | SubjectKey) -> Event[Any]:
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
