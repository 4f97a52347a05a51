"""The byte layout of a signed event.

A signed event ends with `,"keyid":"<id>","signature":"<text>"}`. The signature covers every byte
before `,"signature"`. No canonical form of JSON is needed, because events are stored and forwarded
byte by byte.

The text is the Ed25519 signature of these bytes, in base64url without padding. For events signed
together it is `<signature>.<position>.<size>.<path>`: the signature of the root of a Merkle
tree, and the proof that the event is a leaf of that tree (see merkle.py).

One member may follow: `"redriven"`, the handler that a dead letter was redriven for. It is not
signed, and can only reduce the handlers that the event is for.
"""

from __future__ import annotations

import re
from binascii import a2b_base64, b2a_base64
from typing import NamedTuple

from celeriac.errors import InvalidEvent
from celeriac.event.merkle import HASH_BYTES, MAX_PATH, Proof

KEY_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}", re.ASCII)
SIGNATURE_BYTES = 64

_KEY_ID = b',"keyid":"'
_TAIL = re.compile(
    _KEY_ID + rb'([A-Za-z0-9_.:-]{1,64})"'
    rb'(,"signature":"([A-Za-z0-9_-]{86})'
    rb'(?:\.(0|[1-9][0-9]{0,3})\.([1-9][0-9]{0,3})\.([A-Za-z0-9_-]{1,%d}))?"\})\Z'
    % -(-MAX_PATH * HASH_BYTES * 4 // 3)
)
_MAX_TAIL = 640  # bytes that _TAIL matches, at most
_MAX_REDRIVEN = 1100  # bytes that _REDRIVEN matches, at most
_REDRIVEN_NAME = b',"redriven":"'
_REDRIVEN = re.compile(_REDRIVEN_NAME + rb'[^"\\\x00-\x1f]{1,1000}"\}\Z')
# Characters that the last one may be, by the length of the text modulo 4.
_ALPHABET = bytes(range(65, 91)) + bytes(range(97, 123)) + b"0123456789-_"
_LAST = (_ALPHABET, b"", _ALPHABET[::16], _ALPHABET[::4])
_TO_URL, _FROM_URL = bytes.maketrans(b"+/", b"-_"), bytes.maketrans(b"-_", b"+/")


class Signed(NamedTuple):
    """The parts of a signed event. With a `proof`, the signature is that of the tree's root."""

    message: bytes
    key_id: str
    signature: bytes
    proof: Proof | None = None


def signing_input(raw: bytes, key_id: str) -> bytes:
    """Return the bytes to sign, given an event without key id and signature."""
    return raw[:-1] + b',"keyid":"%b"' % key_id.encode()


def attach(message: bytes, signature: bytes) -> bytes:
    """Return the signed event."""
    return message + b',"signature":"%b"}' % _text(signature)


def attach_proofs(messages: list[bytes], paths: list[bytes], signature: bytes) -> list[bytes]:
    """Return the events signed together, in the order of the tree's leaves."""
    head, size = b',"signature":"%b.' % _text(signature), len(messages)
    return [
        b'%b%b%d.%d.%b"}' % (message, head, position, size, _text(path))
        for position, (message, path) in enumerate(zip(messages, paths, strict=True))
    ]


def split(raw: bytes) -> Signed | None:
    """Return the parts of a signed event; None for an event without a signature."""
    raw = _without_redriven(raw)
    # The last occurrence: what _TAIL matches cannot contain another.
    start = raw.rfind(_KEY_ID, max(0, len(raw) - _MAX_TAIL))
    match = _TAIL.match(raw, start) if start >= 0 else None
    if match is None:
        return None
    key_id, _, signature_text, position, size, path_text = match.groups()
    signature = _bytes(signature_text)
    if signature is None:
        return None
    message = raw[: match.start(2)]
    if position is None:
        return Signed(message, key_id.decode(), signature)
    path = _bytes(path_text)
    if path is None:
        return None
    return Signed(message, key_id.decode(), signature, Proof(int(position), int(size), path))


def _without_redriven(raw: bytes) -> bytes:
    at = raw.rfind(_REDRIVEN_NAME, max(0, len(raw) - _MAX_REDRIVEN))
    return raw[:at] + b"}" if at >= 0 and _REDRIVEN.match(raw, at) else raw


def _text(value: bytes) -> bytes:
    return b2a_base64(value, newline=False).translate(_TO_URL, b"=")


def _bytes(text: bytes) -> bytes | None:
    """Return the bytes; None unless `_text` would write this text.

    The last character may have unused bits, and a signature must have one form only.
    """
    if text[-1] not in _LAST[len(text) % 4]:
        return None
    return a2b_base64(text.translate(_FROM_URL) + b"==")


def is_signed(raw: bytes) -> bool:
    """Return whether the event has a signature, without verifying it."""
    return split(raw) is not None


def unsigned_size(raw: bytes) -> int:
    """Return the size in bytes of the event before it was signed."""
    signed = split(raw)
    if signed is None:
        return len(raw)
    return len(signed.message) - len(_KEY_ID) - len(signed.key_id)


def redriven_for(raw: bytes, handler: str) -> bytes:
    """Return the signed event restricted to this handler; its signature stays valid."""
    if split(raw) is None:
        raise InvalidEvent("the event is not signed")
    return _without_redriven(raw)[:-1] + b',"redriven":"%b"}' % handler.encode()
