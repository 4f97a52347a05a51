"""JWE of RFC 7516: ECDH-ES+A256KW over X25519 for each recipient, A256GCM for the content.

RFC 7518, 4.6 and RFC 8037, 3.2. Data for a subject's key has it as the only recipient, with A256KW
(RFC 7518, 4.4). No other algorithm is supported, which prevents downgrade attacks. Needs the
package cryptography, which its callers have imported.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from celeriac.errors import EncryptionError
from celeriac.event.encrypted import Jwe, Recipient, recipients, subject_key_id
from celeriac.security.key import ENCRYPTION, PublicKey
from celeriac.security.subject_key import SubjectKey
from celeriac.unreadable import UNREADABLE

ALG, ENC = "ECDH-ES+A256KW", "A256GCM"
SUBJECT_ALG = "A256KW"
KEY_BYTES, IV_BYTES, TAG_BYTES = 32, 12, 16


def encrypt(
    plain: bytes,
    keys: Sequence[PublicKey] | SubjectKey,
    *,
    aad: bytes,
    header: Mapping[str, Any],
) -> Jwe:
    """Return the JWE of `plain` for the owners of `keys`, or for a subject's key.

    `header` is in its protected header.
    """
    protected = _text(msgspec.json.encode({"enc": ENC, **header}))
    content_key, iv = os.urandom(KEY_BYTES), os.urandom(IV_BYTES)
    bound = _text(aad)
    encrypted = AESGCM(content_key).encrypt(iv, plain, f"{protected}.{bound}".encode())
    return Jwe(
        protected=protected,
        iv=_text(iv),
        ciphertext=_text(encrypted[:-TAG_BYTES]),
        tag=_text(encrypted[-TAG_BYTES:]),
        aad=bound,
        recipients=_recipients(content_key, keys),
    )


def decrypt(
    jwe: Jwe,
    keys: Mapping[str, X25519PrivateKey],
    *,
    aad: bytes,
    secret_of: Callable[[str], bytes] | None = None,
) -> tuple[bytes, Mapping[str, Any]]:
    """Return (plaintext, protected header), decrypted with one of the keys, given by id.

    `secret_of` returns the secret of a subject's key id. Raises EncryptionError if no key is a
    recipient's, or the JWE was modified, and what `secret_of` raises.
    """
    if _bytes(jwe.aad) != aad:
        raise EncryptionError("cannot be decrypted: it was encrypted for another event")
    protected = _object(_bytes(jwe.protected))
    key_id = subject_key_id(jwe)
    key: X25519PrivateKey | None = None
    if key_id is None:
        recipient, key = _recipient_key(jwe, keys)
    else:
        [recipient] = jwe.all_recipients
    alg = ALG if key_id is None else SUBJECT_ALG
    header = {**recipient.header, **jwe.unprotected, **protected}
    if (header.get("alg"), header.get("enc")) != (alg, ENC) or header.keys() & {"crit", "zip"}:
        raise EncryptionError(
            f"cannot be decrypted: it must use {alg} with {ENC}, without crit and zip"
        )
    secret = b""
    if key_id is not None:
        if secret_of is None:
            raise EncryptionError(
                f"cannot be decrypted: it is encrypted for the subject's key {key_id}, but this "
                "service has no subject_keys. Pass subject_keys=... to its EventBus"
            )
        secret = secret_of(key_id)
    iv, tag = _bytes(jwe.iv), _bytes(jwe.tag)
    if (len(iv), len(tag)) != (IV_BYTES, TAG_BYTES):
        raise _changed()
    try:
        wrapping = secret if key is None else _wrapping_key(_agreed(header, key), header)
        content_key = aes_key_unwrap(wrapping, _bytes(recipient.encrypted_key))
        encrypted, bound = _bytes(jwe.ciphertext) + tag, f"{jwe.protected}.{jwe.aad}"
        return AESGCM(content_key).decrypt(iv, encrypted, bound.encode()), protected
    except (InvalidUnwrap, InvalidTag, ValueError):
        # Also catches EncryptionError, a ValueError with the same message.
        raise _changed() from None


def concat_kdf(agreed: bytes, *, alg: str, apu: bytes, apv: bytes, key_bytes: int) -> bytes:
    """Return the key of the Concat KDF (NIST SP 800-56A) as in RFC 7518, 4.6.2 and appendix C.

    `alg` is the algorithm that uses the key: for key wrapping, the `alg` of the JWE.
    """
    info = b"".join(len(x).to_bytes(4, "big") + x for x in (alg.encode(), apu, apv))
    info += (8 * key_bytes).to_bytes(4, "big")
    return ConcatKDFHash(SHA256(), key_bytes, info).derive(agreed)


def _recipients(
    content_key: bytes, keys: Sequence[PublicKey] | SubjectKey
) -> tuple[Recipient, ...]:
    if not isinstance(keys, SubjectKey):
        return tuple(_wrapped(content_key, key) for key in keys)
    wrapped = _text(aes_key_wrap(keys.secret, content_key))
    return (Recipient(encrypted_key=wrapped, header={"alg": SUBJECT_ALG, "kid": keys.id}),)


def _wrapped(content_key: bytes, key: PublicKey) -> Recipient:
    # RFC 7518, 4.6 requires a new ephemeral key for each agreement.
    ephemeral = X25519PrivateKey.generate()
    agreed = ephemeral.exchange(X25519PublicKey.from_public_bytes(key.public))
    point = _text(ephemeral.public_key().public_bytes_raw())
    return Recipient(
        encrypted_key=_text(aes_key_wrap(_wrapping_key(agreed, {}), content_key)),
        header={"alg": ALG, "kid": key.id, "epk": {"kty": "OKP", "crv": ENCRYPTION, "x": point}},
    )


def _recipient_key(
    jwe: Jwe, keys: Mapping[str, X25519PrivateKey]
) -> tuple[Recipient, X25519PrivateKey]:
    for recipient in jwe.all_recipients:
        id = recipient.header.get("kid")
        if isinstance(id, str) and id in keys:
            return recipient, keys[id]
    key_ids = ", ".join(recipients(jwe)[:20]) or "(without ids)"
    raise EncryptionError(
        f"cannot be decrypted: it is encrypted for the keys {key_ids}, but this service has "
        f"{', '.join(sorted(keys)) or 'none'}. Set CELERIAC_ENCRYPTION_KEY, or list the service "
        "in encrypt_for of the emit"
    )


def _agreed(header: Mapping[str, Any], key: X25519PrivateKey) -> bytes:
    point = header.get("epk")
    if not isinstance(point, dict) or point.get("crv") != ENCRYPTION:
        raise _changed()
    return key.exchange(X25519PublicKey.from_public_bytes(_bytes(point.get("x"))))


def _wrapping_key(agreed: bytes, header: Mapping[str, Any]) -> bytes:
    apu, apv = (_bytes(header.get(name, "")) for name in ("apu", "apv"))
    return concat_kdf(agreed, alg=ALG, apu=apu, apv=apv, key_bytes=KEY_BYTES)


def _object(raw: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(raw, type=dict[str, Any])
    except UNREADABLE:
        raise _changed() from None


def _text(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _bytes(text: object) -> bytes:
    """Return the bytes of canonical base64url without padding."""
    try:
        raw = text.encode("ascii")  # type: ignore[attr-defined]
        value = base64.b64decode(raw + b"=" * (-len(raw) % 4), altchars=b"-_", validate=True)
    except (AttributeError, UnicodeError, binascii.Error):
        raise _changed() from None
    if _text(value) != text:
        raise _changed()
    return value


def _changed() -> EncryptionError:
    return EncryptionError(
        "cannot be decrypted: it was modified after encryption, or encrypted for another "
        "key with the same id"
    )
