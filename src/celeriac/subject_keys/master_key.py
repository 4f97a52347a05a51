"""Master keys, which wrap the keys of subjects (AES key wrap, RFC 3394)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

from celeriac.errors import ConfigurationError
from celeriac.extra import needing
from celeriac.security.key import KEY_BYTES


class MasterKeys:
    """The first key wraps; all are tried to unwrap.

    Args:
        given: 32 bytes in base64url, or several of them.
        name: Who needs them, for messages.

    Raises:
        ConfigurationError: A key is invalid, or cryptography is missing.
    """

    def __init__(self, given: str | Sequence[str], name: str) -> None:
        with needing("signing", name):
            from cryptography.hazmat.primitives import keywrap
        self._keywrap = keywrap
        self._name = name
        texts = [given] if isinstance(given, str) else list(given)
        self._keys = [_decoded(text) for text in texts]
        if not self._keys:
            raise ConfigurationError(f"master_key is empty: {name} needs a key")

    def wrap(self, secret: bytes) -> bytes:
        return bytes(self._keywrap.aes_key_wrap(self._keys[0], secret))

    def unwrap(self, wrapped: bytes, key_id: str) -> bytes:
        """Return the secret. Raises ConfigurationError if no master key unwraps it."""
        for key in self._keys:
            try:
                return bytes(self._keywrap.aes_key_unwrap(key, wrapped))
            except self._keywrap.InvalidUnwrap:
                continue
        raise ConfigurationError(
            f"master_key does not unwrap the key {key_id}: it was wrapped by another one. Give "
            f"{self._name} the earlier master key too"
        )


def _decoded(text: str) -> bytes:
    try:
        key = base64.urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4))
    except (AttributeError, UnicodeError, binascii.Error):
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigurationError(
            f"master_key is invalid: it must be {KEY_BYTES} bytes in base64url. Create one with "
            "`python -c 'import secrets; print(secrets.token_urlsafe(32))'`"
        )
    return key
