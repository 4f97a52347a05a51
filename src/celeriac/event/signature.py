"""Where a signature stands in an event, byte by byte.

A signed event ends with `,"keyid":"<id>","signature":"<86 characters>"}`. The signature is Ed25519
over every byte before `,"signature"`, in base64url without padding. No canonical form of JSON is
needed: what is signed is what was written, and whoever carries the event carries its bytes.

One member may follow: `"redriven"`, the handler that a dead letter was redriven for. It is not
signed, and can only narrow whom the event is for.
"""

from __future__ import annotations

import base64
import re
from typing import NamedTuple

from celeriac.errors import InvalidEvent

KEY_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}", re.ASCII)
SIGNATURE_BYTES = 64

_TAIL = re.compile(rb',"keyid":"([A-Za-z0-9_.:-]{1,64})"(,"signature":"([A-Za-z0-9_-]{86})"\})\Z')
_REDRIVEN = re.compile(rb',"redriven":"[^"\\\x00-\x1f]{1,1000}"\}\Z')


class Signed(NamedTuple):
    """What a signed event consists of."""

    message: bytes
    key_id: str
    signature: bytes


def signing_input(raw: bytes, key_id: str) -> bytes:
    """The bytes to sign, of an event that was encoded without a key id and a signature."""
    return raw[:-1] + b',"keyid":"%b"' % key_id.encode()


def attach(message: bytes, signature: bytes) -> bytes:
    """The signed event."""
    encoded = base64.urlsafe_b64encode(signature).rstrip(b"=")
    return message + b',"signature":"%b"}' % encoded


def split(raw: bytes) -> Signed | None:
    """The parts of a signed event; None where it does not end as one does."""
    if (redriven := _REDRIVEN.search(raw, max(0, len(raw) - 1100))) is not None:
        raw = raw[: redriven.start()] + b"}"
    found = _TAIL.search(raw, max(0, len(raw) - 200))
    if found is None:
        return None
    signature = base64.urlsafe_b64decode(found[3] + b"==")
    # the last character holds two bits of no meaning: one signature has one form
    if base64.urlsafe_b64encode(signature).rstrip(b"=") != found[3]:
        return None
    return Signed(raw[: found.start(2)], found[1].decode(), signature)


def is_signed(raw: bytes) -> bool:
    """Whether the event ends as a signed one does. It says nothing about the signature."""
    return split(raw) is not None


def redriven_for(raw: bytes, handler: str) -> bytes:
    """The signed event for this handler alone, its signature untouched."""
    if split(raw) is None:
        raise InvalidEvent("the event is not signed")
    if (before := _REDRIVEN.search(raw)) is not None:
        raw = raw[: before.start()] + b"}"
    return raw[:-1] + b',"redriven":"%b"}' % handler.encode()
