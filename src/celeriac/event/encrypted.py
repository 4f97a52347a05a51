"""Events whose data is encrypted: how they are told, and what can be read of them without a key.

The data is a JWE (RFC 7516) in JSON: for each recipient its key id and the wrapped key of the
content. Its `aad` is `binding`, so it counts in the event that it was made for alone.
"""

from __future__ import annotations

from typing import Any

import msgspec

from celeriac.errors import EncryptionError
from celeriac.event.envelope import Event
from celeriac.event.signature import KEY_ID

ENCRYPTED = "application/jose+json"
MOST_SHOWN = 20  # recipients; whoever wrote the event says how many there are


class Recipient(msgspec.Struct, frozen=True):
    """Whom the key of the content is wrapped for, and how."""

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
    def everyone(self) -> tuple[Recipient, ...]:
        """The recipients in either form."""
        return self.recipients or (Recipient(self.encrypted_key, self.header),)


_decoder = msgspec.json.Decoder(Jwe)


def is_encrypted(event: Event[Any]) -> bool:
    """Whether its data is a JWE, by its content type."""
    given = event.datacontenttype
    return given is not None and given.partition(";")[0].rstrip().lower() == ENCRYPTED


def binding(event: Event[Any]) -> bytes:
    """What a ciphertext is bound to. None of the three can hold a line feed."""
    return f"{event.id}\n{event.source}\n{event.type}".encode()


def read_jwe(event: Event[Any]) -> Jwe:
    """The encrypted data of an event off the wire. Raises EncryptionError for what is no JWE."""
    try:
        return _decoder.decode(event.data)
    except (msgspec.DecodeError, TypeError, UnicodeError, RecursionError):
        raise EncryptionError(
            f"cannot be opened: its content type is {ENCRYPTED}, and its data is no JWE in JSON"
        ) from None


def recipients(jwe: Jwe) -> list[str]:
    """Their key ids, as the event has them: nothing vouches for them."""
    ids = (one.header.get("kid") for one in jwe.everyone)
    return [id for id in ids if isinstance(id, str) and KEY_ID.fullmatch(id)]


def encrypted_for(event: Event[Any]) -> str:
    """What people see in place of the data: `encrypted for billing, shipping`."""
    try:
        ids = recipients(read_jwe(event))
    except EncryptionError:
        ids = []
    if len(ids) > MOST_SHOWN:
        ids = [*ids[:MOST_SHOWN], f"{len(ids) - MOST_SHOWN} more"]
    return f"encrypted for {', '.join(ids)}" if ids else "encrypted"
