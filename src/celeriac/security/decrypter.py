"""Decryption of events for handlers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from celeriac.errors import ConfigurationError, EncryptionError
from celeriac.event import RawEvent
from celeriac.event.attributes import check_content_type
from celeriac.event.encrypted import Jwe, binding, is_encrypted, read_jwe, subject_key_id
from celeriac.security.key import ENCRYPTION, secret_keys
from celeriac.security.signer import missing
from celeriac.settings import Settings

Decrypter = Callable[[RawEvent], RawEvent]


def make_decrypter(
    settings: Settings, secret_of: Callable[[str], bytes] | None = None
) -> Decrypter:
    """Return a function that returns an encrypted event with its plain data.

    `secret_of` returns the secret of a subject's key id. The function raises EncryptionError, an
    InvalidEvent, for data that cannot be decrypted, and what `secret_of` raises. Raises
    ConfigurationError for invalid keys, or if cryptography is missing.
    """
    try:
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

        from celeriac.security.jwe import decrypt
    except ImportError:
        raise missing("an encrypted event") from None
    setting = "CELERIAC_ENCRYPTION_KEY"
    secrets = secret_keys(settings.encryption_key, setting=setting, curve=ENCRYPTION)
    keys = {key.id: X25519PrivateKey.from_private_bytes(key.secret) for key in secrets}
    if len(keys) < len(secrets):
        raise ConfigurationError(
            f"{setting} has two keys with the same id. Give one of them another `kid`"
        )

    def decrypted(event: RawEvent) -> RawEvent:
        jwe = read_jwe(event)
        opened = open_once(event, jwe)
        if subject_key_id(jwe) is None or not is_encrypted(opened):
            return opened
        inner = read_jwe(opened)
        if subject_key_id(inner) is not None:
            raise EncryptionError("cannot be decrypted: it is encrypted for two subjects")
        return open_once(opened, inner)

    def open_once(event: RawEvent, jwe: Jwe) -> RawEvent:
        plain, header = decrypt(jwe, keys, aad=binding(event), secret_of=secret_of)
        data: msgspec.Raw | bytes | None = plain
        if header.get("binary") is not True:
            data = None if plain == b"null" else msgspec.Raw(plain)
        return replace(event, data=data, datacontenttype=_content_type(header))

    return decrypted


def _content_type(header: Mapping[str, Any]) -> str | None:
    given = header.get("cty")
    if given is None:
        return None
    if not isinstance(given, str):
        raise EncryptionError("cannot be decrypted: `cty` in its protected header is not a string")
    # RFC 7516, 4.1.12: "application/" may be omitted.
    given = given if "/" in given else f"application/{given}"
    check_content_type(given)
    return given
