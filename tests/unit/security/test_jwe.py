"""The construction of a JWE: the examples of the RFCs, and an independent implementation."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap, aes_key_wrap
from hypothesis import given
from hypothesis import strategies as st

from celeriac import EncryptionError
from celeriac.event.encrypted import Jwe, Recipient
from celeriac.security.jwe import concat_kdf, decrypt, encrypt
from celeriac.security.key import PublicKey

SECRETS = {name: X25519PrivateKey.generate() for name in ("billing", "shipping", "audit")}
AAD = b"1\norders\norder.placed"


def public(name: str) -> PublicKey:
    return PublicKey(name, "X25519", SECRETS[name].public_key().public_bytes_raw())


def bytes_of(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def text_of(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def kdf(agreed: bytes, alg: bytes, apu: bytes, apv: bytes, bits: int) -> bytes:
    """RFC 7518, 4.6.2, with SHA-256 only: one round gives up to 256 bits."""
    data = b"\0\0\0\1" + agreed
    for part in (alg, apu, apv):
        data += len(part).to_bytes(4, "big") + part
    return hashlib.sha256(data + bits.to_bytes(4, "big")).digest()[: bits // 8]


def second_reading(document: dict[str, Any], kid: str, secret: X25519PrivateKey) -> bytes:
    """Decrypt the JSON step by step, as another implementation does (RFC 7516, 5.2)."""
    protected = json.loads(bytes_of(document["protected"]))
    (one,) = (one for one in document["recipients"] if one["header"]["kid"] == kid)
    header = one["header"]
    assert header["alg"] == "ECDH-ES+A256KW" and protected["enc"] == "A256GCM"
    assert not header.keys() & protected.keys()
    assert (header["epk"]["kty"], header["epk"]["crv"]) == ("OKP", "X25519")
    agreed = secret.exchange(X25519PublicKey.from_public_bytes(bytes_of(header["epk"]["x"])))
    wrapping = kdf(agreed, b"ECDH-ES+A256KW", b"", b"", 256)
    content_key = aes_key_unwrap(wrapping, bytes_of(one["encrypted_key"]))
    tag = bytes_of(document["tag"])
    reader = Cipher(
        algorithms.AES(content_key), modes.GCM(bytes_of(document["iv"]), tag)
    ).decryptor()
    reader.authenticate_additional_data(f"{document['protected']}.{document['aad']}".encode())
    return reader.update(bytes_of(document["ciphertext"])) + reader.finalize()


def test_the_key_derivation_is_that_of_rfc_7518_appendix_c() -> None:
    agreed = bytes.fromhex("9e56d91d817135d372834283bf84269cfb316ea3da806a48f6daa7798cfe90c4")
    wanted = bytes_of("VqqN6vgjbSBcIijNcacQGg")
    assert kdf(agreed, b"A128GCM", b"Alice", b"Bob", 128) == wanted
    assert concat_kdf(agreed, alg="A128GCM", apu=b"Alice", apv=b"Bob", key_bytes=16) == wanted


def test_the_agreement_is_that_of_rfc_8037_appendix_a_6() -> None:
    """Its keys are those of RFC 7748, 6.1, and so is the secret."""
    mine, theirs, agreed = (
        bytes.fromhex(text)
        for text in (
            "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
            "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
            "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742",
        )
    )
    secret = X25519PrivateKey.from_private_bytes(mine)
    assert secret.exchange(X25519PublicKey.from_public_bytes(theirs)) == agreed
    given = {"alg": "ECDH-ES+A256KW", "apu": b"", "apv": b""}
    ours = concat_kdf(agreed, key_bytes=32, **given)  # type: ignore[arg-type]
    assert ours == kdf(agreed, b"ECDH-ES+A256KW", b"", b"", 256)


@given(st.binary(max_size=300), st.sampled_from(["billing", "shipping", "audit"]))
def test_each_recipient_opens_it_by_either_reading(plain: bytes, who: str) -> None:
    jwe = encrypt(plain, [public(name) for name in SECRETS], aad=AAD, header={"cty": "a/b"})
    assert decrypt(jwe, {who: SECRETS[who]}, aad=AAD) == (plain, {"enc": "A256GCM", "cty": "a/b"})
    document = json.loads(msgspec.json.encode(jwe))
    assert second_reading(document, who, SECRETS[who]) == plain


def sealed() -> dict[str, Any]:
    jwe = encrypt(b'{"n":1}', [public("billing"), public("shipping")], aad=AAD, header={})
    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(jwe))
    return found


def opened(document: dict[str, Any], who: str = "billing", aad: bytes = AAD) -> bytes:
    jwe = msgspec.json.decode(msgspec.json.encode(document), type=Jwe)
    return decrypt(jwe, {who: SECRETS[who]}, aad=aad)[0]


def flipped(text: str, place: int) -> str:
    raw = bytearray(bytes_of(text))
    raw[place] ^= 1
    return text_of(bytes(raw))


@pytest.mark.parametrize("member", ["protected", "iv", "ciphertext", "tag", "aad"])
def test_no_byte_can_be_changed(member: str) -> None:
    document = sealed()
    for place in range(len(bytes_of(document[member]))):
        with pytest.raises(EncryptionError):
            opened({**document, member: flipped(document[member], place)})
    assert opened(document) == b'{"n":1}'


@pytest.mark.parametrize("member", ["iv", "ciphertext", "tag", "protected"])
@pytest.mark.parametrize("value", ["", "A", "AA", "!", "é", "AA=="])
def test_what_has_another_shape_is_refused(member: str, value: str) -> None:
    with pytest.raises(EncryptionError):
        opened({**sealed(), member: value})


@pytest.mark.parametrize(
    "change",
    [
        {"alg": "dir"},
        {"alg": "ECDH-ES"},
        {"alg": None},
        {"enc": "A128GCM"},
        {"crit": ["x"]},
        {"zip": "DEF"},
        {"epk": None},
        {"epk": {"crv": "P-256"}},
        {"epk": {"kty": "OKP", "crv": "X25519", "x": "AA"}},
        {"epk": {"kty": "OKP", "crv": "X25519", "x": 1}},
        # a point of low order: the agreed secret would be zero, which is public
        {"epk": {"kty": "OKP", "crv": "X25519", "x": text_of(bytes(32))}},
        {"apu": "QQ"},
        {"apv": 1},
        {"kid": 1},
        {"kid": "shipping"},
    ],
)
def test_a_header_that_was_changed_is_refused(change: dict[str, Any]) -> None:
    document = sealed()
    document["recipients"][0]["header"] |= change
    with pytest.raises(EncryptionError):
        opened({**document, "unprotected": change} if "enc" not in change else _weaker(document))


def _weaker(document: dict[str, Any]) -> dict[str, Any]:
    return {**document, "protected": text_of(b'{"enc":"A128GCM"}')}


def test_the_wrapped_keys_of_two_recipients_cannot_be_swapped() -> None:
    document = sealed()
    one, two = document["recipients"]
    one["encrypted_key"], two["encrypted_key"] = two["encrypted_key"], one["encrypted_key"]
    for who in ("billing", "shipping"):
        with pytest.raises(EncryptionError, match="it was modified"):
            opened(document, who)
    one["header"]["kid"], two["header"]["kid"] = "shipping", "billing"
    with pytest.raises(EncryptionError, match="it was modified"):
        opened(document)


def test_the_error_for_another_service_names_the_recipients() -> None:
    with pytest.raises(EncryptionError, match="the keys billing, shipping, but this service has"):
        opened(sealed(), "audit")


def test_it_counts_for_the_event_that_it_was_made_for_alone() -> None:
    document = sealed()
    other = b"2\norders\norder.placed"
    with pytest.raises(EncryptionError, match="for another event"):
        opened(document, aad=other)
    with pytest.raises(EncryptionError, match="it was modified"):
        opened({**document, "aad": text_of(other)}, aad=other)


def test_the_flattened_form_of_one_recipient_is_read_too() -> None:
    """Some libraries write it whenever there is one (RFC 7516, 7.2.2)."""
    document = sealed()
    first = document.pop("recipients")[0]
    assert opened({**document, **first}) == b'{"n":1}'


@pytest.mark.parametrize("header", ['{"enc": "A256GCM"}', '{ "enc":"A256GCM", "cty":"a\\/b"}'])
def test_a_protected_header_in_another_form_of_json_is_read(header: str) -> None:
    """It is authenticated as it was received (RFC 7516, 5.2, step 15)."""
    secret, content_key, iv = SECRETS["billing"], os.urandom(32), os.urandom(12)
    ephemeral = X25519PrivateKey.generate()
    agreed = ephemeral.exchange(secret.public_key())
    wrapping = kdf(agreed, b"ECDH-ES+A256KW", b"", b"", 256)
    point = text_of(ephemeral.public_key().public_bytes_raw())
    protected = text_of(header.encode())
    sealed = AESGCM(content_key).encrypt(iv, b"plain", f"{protected}.{text_of(AAD)}".encode())
    jwe = Jwe(
        protected=protected,
        iv=text_of(iv),
        ciphertext=text_of(sealed[:-16]),
        tag=text_of(sealed[-16:]),
        aad=text_of(AAD),
        recipients=(
            Recipient(
                text_of(aes_key_wrap(wrapping, content_key)),
                {
                    "alg": "ECDH-ES+A256KW",
                    "kid": "billing",
                    "epk": {"kty": "OKP", "crv": "X25519", "x": point},
                },
            ),
        ),
    )
    assert decrypt(jwe, {"billing": secret}, aad=AAD)[0] == b"plain"


def test_no_key_and_no_nonce_is_used_twice() -> None:
    one, two = sealed(), sealed()
    for member in ("iv", "ciphertext", "tag"):
        assert one[member] != two[member]
    points = [r["header"]["epk"]["x"] for document in (one, two) for r in document["recipients"]]
    assert len(set(points)) == 4
