"""Derived ids: a repetition of the same event emits the same ids."""

from __future__ import annotations

from hashlib import blake2b


def derived_id(handler: str, key: str, event_key: str, purpose: str) -> str:
    """Return a UUIDv8 (RFC 9562) for one effect of one event on one instance.

    `purpose` separates the effects, such as `emit 0` and `timer unpaid`.
    """
    parts = (handler, key, event_key, purpose)
    # Lengths separate the parts, which may contain any character.
    text = "".join(f"{len(part)}:{part}" for part in parts)
    raw = bytearray(blake2b(text.encode(errors="surrogatepass"), digest_size=16).digest())
    raw[6] = raw[6] & 0x0F | 0x80
    raw[8] = raw[8] & 0x3F | 0x80
    digits = raw.hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
