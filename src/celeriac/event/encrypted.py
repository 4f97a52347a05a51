"""Events with encrypted data: their detection, and what can be read without a key.

The data is a JWE (RFC 7516) in JSON: for each recipient its key id and the wrapped content key. Its
`aad` is `binding`, so the data can be decrypted only in the event that it was encrypted for.
"""

from __future__ import annotations

from typing import Any

import msgspec

from celeriac.errors import EncryptionError
from celeriac.event.envelope import Event
from celeriac.event.signature import KEY_ID
from celeriac.unreadable import UNREADABLE

ENCRYPTED = "application/jose+json"
# Key ids of subjects begin with it, so that they differ from the key ids of services.
SUBJECT_KEY = "subject:"
MAX_SHOWN = 20  # recipients; the producer chooses their number


class Recipient(msgspec.Struct, frozen=True):
    """A recipient: its wrapped content key, and how it is wrapped."""

    encrypted_key: str
    header: dict[str, Any] = {}


class Jwe(msgspec.Struct, frozen=True, omit_defaults=True):
    """RFC 7516, 7.2.1 (general) and 7.2.2 (flattened, for one recipient): base64url texts."""

    protected: str
    iv: str
    ciphertext: str
    tag: str
    aad: str = ""
    unprotected: dict[str, Any] = {}
    recipients: tuple[Recipient, ...] = ()
    header: dict[str, Any] = {}
    encrypted_key: str = ""

    @property
    def all_recipients(self) -> tuple[Recipient, ...]:
        """The recipients, in either form."""
        return self.recipients or (Recipient(self.encrypted_key, self.header),)


_decoder = msgspec.json.Decoder(Jwe)


def is_encrypted(event: Event[Any]) -> bool:
    """Return whether the data is a JWE, by its content type."""
    content_type = event.datacontenttype
    return content_type is not None and content_type.partition(";")[0].rstrip().lower() == ENCRYPTED


def binding(event: Event[Any]) -> bytes:
    """Return the bytes that a ciphertext is bound to. No part can contain a line feed."""
    return f"{event.id}\n{event.source}\n{event.type}".encode()


def read_jwe(event: Event[Any]) -> Jwe:
    """Return the encrypted data of an event. Raises EncryptionError unless it is a JWE."""
    try:
        return _decoder.decode(event.data)
    except (*UNREADABLE, TypeError):
        raise EncryptionError(
            f"cannot be decrypted: its content type is {ENCRYPTED}, but its data is not a JWE "
            "in JSON"
        ) from None


def recipients(jwe: Jwe) -> list[str]:
    """Return the key ids of the recipients. They are not authenticated."""
    ids = (recipient.header.get("kid") for recipient in jwe.all_recipients)
    return [id for id in ids if isinstance(id, str) and KEY_ID.fullmatch(id)]


def is_for_subject(event: Event[Any]) -> bool:
    """Return whether the data is encrypted with the key of a subject, which can be erased."""
    return subject_key_of(event) is not None


def subject_key_of(event: Event[Any]) -> str | None:
    """Return the id of the subject's key that the data is encrypted with; None for other data."""
    if not is_encrypted(event):
        return None
    try:
        return subject_key_id(read_jwe(event))
    except EncryptionError:
        return None


def subject_key_id(jwe: Jwe) -> str | None:
    """Return the id of the subject's key that the data is encrypted for; None for services."""
    ids = recipients(jwe)
    is_subject = len(jwe.all_recipients) == len(ids) == 1 and ids[0].startswith(SUBJECT_KEY)
    return ids[0] if is_subject else None


def encrypted_for(event: Event[Any]) -> str:
    """Return the text that is shown instead of the data: `encrypted for billing, shipping`."""
    try:
        ids = recipients(read_jwe(event))
    except EncryptionError:
        ids = []
    if len(ids) > MAX_SHOWN:
        ids = [*ids[:MAX_SHOWN], f"{len(ids) - MAX_SHOWN} more"]
    return f"encrypted for {', '.join(ids)}" if ids else "encrypted"
