"""Events signed together: each verifies by itself, and no other bytes do."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from celeriac import Event, EventBus, InvalidEvent, UntrustedEvent
from celeriac.event import build_event, decode, encode, read_header
from celeriac.event.signature import Signed, redriven_for, split, unsigned_size
from celeriac.security import Signer, Verifier, make_signer, make_verifier
from celeriac.security.signer import MAX_BATCH
from celeriac.security.verified import MAX_REMEMBERED, VerifiedCache
from celeriac.settings import Settings
from celeriac.testing import in_memory
from tests.unit.security.conftest import Keys, together

SETTINGS = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def raws(count: int, **attributes: Any) -> list[bytes]:
    return [
        encode(build_event("order.placed", {"n": n}, source="orders", id=str(n), **attributes))
        for n in range(count)
    ]


@pytest.fixture
def pair(keys: Keys) -> tuple[str, str]:
    return keys("orders-1")


@pytest.fixture
def signer(pair: tuple[str, str]) -> Signer:
    made = make_signer(Settings.load({}, signing_key=pair[0]))
    assert made is not None
    return made


@pytest.fixture
def trusted(pair: tuple[str, str], keys: Keys) -> Settings:
    """Return the keys of orders and of billing."""
    return Settings.load({}, trusted_keys=together(pair[1], keys("billing-1")[1]))


@pytest.fixture
def verify(trusted: Settings) -> Verifier:
    return make_verifier(trusted)


def is_trusted(verify: Verifier, raw: bytes) -> bool:
    """Any bytes are trusted or refused, without other errors."""
    try:
        verify(raw, decode(raw), "order")
    except (InvalidEvent, UntrustedEvent):
        return False
    return True


@pytest.mark.parametrize("count", [2, 3, 5, MAX_BATCH, MAX_BATCH + 1, 3 * MAX_BATCH + 7])
def test_each_event_verifies_without_the_others(
    signer: Signer, trusted: Settings, count: int
) -> None:
    given, signed = raws(count), signer.sign_many(raws(count))
    for raw, plain in zip(signed, given, strict=True):
        make_verifier(trusted)(raw, decode(raw), "order")
        assert decode(raw).data == decode(plain).data
        assert unsigned_size(raw) == len(plain)


def test_one_event_has_the_signature_of_its_own(signer: Signer) -> None:
    [raw] = raws(1)
    assert [signer.sign(raw)] == signer.sign_many([raw])
    last = signer.sign_many(raws(MAX_BATCH + 1))[-1]
    found = split(last)
    assert found is not None and found.proof is None


def test_a_proof_takes_43_bytes_a_level(signer: Signer) -> None:
    signed = signer.sign_many(raws(MAX_BATCH))
    assert 400 >= max(len(raw) for raw in signed) - len(raws(1)[0]) - len(',"keyid":"orders-1"')


@SETTINGS
@given(st.data(), st.integers(2, 9))
def test_no_byte_can_be_changed(
    signer: Signer, verify: Verifier, data: st.DataObject, count: int
) -> None:
    """Of event, key id, signature, position, size or path."""
    signed = signer.sign_many(raws(count))
    assert all(is_trusted(verify, one) for one in signed)
    raw = data.draw(st.sampled_from(signed))
    place = data.draw(st.integers(0, len(raw) - 1))
    instead = data.draw(st.binary(max_size=3).filter(lambda some: some != raw[place : place + 1]))
    assert not is_trusted(verify, raw[:place] + instead + raw[place + 1 :])


def test_every_bit_of_one_event_counts(signer: Signer, verify: Verifier) -> None:
    raw = signer.sign_many(raws(5))[4]
    assert is_trusted(verify, raw)
    for place in range(len(raw)):
        for bit in range(8):
            changed = raw[:place] + bytes([raw[place] ^ (1 << bit)]) + raw[place + 1 :]
            assert not is_trusted(verify, changed), (place, bit)


def proof_of(raw: bytes) -> bytes:
    return raw.rpartition(b',"signature":"')[2]


def with_proof(raw: bytes, proof: bytes) -> bytes:
    head, name, _ = raw.rpartition(b',"signature":"')
    return head + name + proof


@SETTINGS
@given(st.integers(2, 20), st.integers(2, 20), st.integers(0, 19), st.integers(0, 19))
def test_no_proof_is_one_of_another_event(
    signer: Signer, verify: Verifier, first: int, second: int, one: int, other: int
) -> None:
    signed = signer.sign_many(raws(first)), signer.sign_many(raws(second, subject="other"))
    mine, of_another_batch = signed[0][one % first], signed[1][other % second]
    of_the_same = signed[0][(one + 1) % first]
    assert all(is_trusted(verify, raw) for raw in (mine, of_another_batch, of_the_same))
    assert not is_trusted(verify, with_proof(mine, proof_of(of_another_batch)))
    assert not is_trusted(verify, with_proof(mine, proof_of(of_the_same)))
    swapped = re.sub(rb"^[^.]*", proof_of(of_another_batch).partition(b".")[0], proof_of(mine))
    assert not is_trusted(verify, with_proof(mine, swapped))


@SETTINGS
@given(st.from_regex(rb"[A-Za-z0-9_.-]{0,700}", fullmatch=True))
def test_any_proof_is_one_or_refused(signer: Signer, verify: Verifier, garbage: bytes) -> None:
    raw = signer.sign_many(raws(3))[0]
    signature = proof_of(raw).partition(b".")[0]
    for proof in (garbage, signature + b"." + garbage, signature + b".0.3." + garbage):
        assert not is_trusted(verify, with_proof(raw, proof + b'"}'))


PATH = "A" * 43


@pytest.mark.parametrize(
    "proof, reason",
    [
        ("0.2", "does not end with"),
        ("0.2.", "does not end with"),
        (f"00.2.{PATH}", "does not end with"),
        (f"0.02.{PATH}", "does not end with"),
        (f"-1.2.{PATH}", "does not end with"),
        (f"0.20000.{PATH}", "does not end with"),
        (f"0.2.{PATH[:-1]}B", "does not end with"),
        (f"0.2.{PATH[:41]}", "does not end with"),
        (f"0.2.{'A' * 428}", "does not end with"),
        (f"0.2.{PATH}", "is not valid for the key 'orders-1'"),
        (f"0.2.{PATH[:-1]}", "a path of 31 bytes does not lead from event 0 of 2"),
        (f"0.2.{'A' * 86}", "a path of 64 bytes does not lead from event 0 of 2"),
        (f"0.2.{'A' * 427}", "a path of 320 bytes does not lead from event 0 of 2"),
        (f"0.1.{PATH}", "does not lead from event 0 of 1"),
        (f"2.2.{PATH}", "does not lead from event 2 of 2"),
        (f"0.0.{PATH}", "does not end with"),
        (f"0.1025.{PATH}", "at most 1024 events"),
    ],
)
def test_a_proof_that_is_none_is_refused_with_the_reason(
    signer: Signer, verify: Verifier, proof: str, reason: str
) -> None:
    raw = signer.sign_many(raws(2))[0]
    signature = proof_of(raw).partition(b".")[0]
    changed = with_proof(raw, signature + b"." + proof.encode() + b'"}')
    with pytest.raises(UntrustedEvent, match=re.escape(reason)):
        verify(changed, decode(changed), "order")


def test_a_signature_of_an_event_is_none_of_a_root(signer: Signer, verify: Verifier) -> None:
    """An event and a root cannot replace each other."""
    plain, batched = signer.sign(raws(2)[0]), signer.sign_many(raws(2))[0]
    signature = proof_of(plain)[:86]
    assert not is_trusted(verify, with_proof(batched, signature + proof_of(batched)[86:]))
    assert not is_trusted(verify, with_proof(plain, proof_of(batched)[:86] + b'"}'))


def test_what_is_bound_to_a_key_is_bound_in_a_batch(signer: Signer, pair: tuple[str, str]) -> None:
    public = json.dumps({**json.loads(pair[1]), "sources": ["billing"]})
    verify = make_verifier(Settings.load({}, trusted_keys=public))
    for raw in signer.sign_many(raws(2)):
        with pytest.raises(UntrustedEvent, match=r"is not trusted for order\.placed of orders"):
            verify(raw, decode(raw), "order")


def test_redriven_its_proof_stays(signer: Signer, verify: Verifier) -> None:
    raw = redriven_for(signer.sign_many(raws(7))[6], "billing.charge")
    assert is_trusted(verify, raw)
    assert read_header(raw).handlers == ("billing.charge",)


# -- one verification for all


@pytest.fixture
def verifications(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Record the messages whose Ed25519 signatures are verified."""
    seen: list[bytes] = []
    found = ed25519.Ed25519PublicKey.from_public_bytes

    class Counting:
        def __init__(self, raw: bytes) -> None:
            self.key = found(raw)

        def verify(self, signature: bytes, message: bytes) -> None:
            seen.append(message)
            self.key.verify(signature, message)

    class Keys:
        from_public_bytes = Counting

    monkeypatch.setattr(ed25519, "Ed25519PublicKey", Keys)
    return seen


def test_a_batch_costs_one_verification(
    signer: Signer, verifications: list[bytes], verify: Verifier
) -> None:
    for raw in signer.sign_many(raws(2 * MAX_BATCH)):
        verify(raw, decode(raw), "order")
    assert 2 == len(verifications)


def test_what_was_refused_is_not_remembered_and_no_other_key_profits(
    signer: Signer, verifications: list[bytes], verify: Verifier
) -> None:
    signed = signer.sign_many(raws(2))
    assert is_trusted(verify, signed[0])

    def forged(change: Callable[[bytes], bytes], raw: bytes = signed[1]) -> None:
        before = len(verifications)
        for _ in range(2):
            assert not is_trusted(verify, change(raw))
        assert before + 2 == len(verifications)

    forged(lambda raw: raw.replace(b'"n":1', b'"n":2'))
    forged(lambda raw: raw.replace(b"orders-1", b"billing-1"))
    forged(lambda raw: raw.replace(b".1.2.", b".0.2."))
    other = proof_of(signer.sign_many(raws(2, subject="other"))[0])[:86]
    forged(lambda raw: with_proof(raw, other + proof_of(raw)[86:]))
    assert is_trusted(verify, signed[1])


def test_so_many_verified_signatures_are_remembered_and_no_more() -> None:
    verified = VerifiedCache()
    for n in range(MAX_REMEMBERED + 5):
        verified.add(("k", b"%d" % n, b""))
        verified.add(("k", b"%d" % n, b""))
    assert ("k", b"4", b"") not in verified
    assert ("k", b"5", b"") in verified
    assert ("k", b"5", b"other") not in verified and ("l", b"5", b"") not in verified


# -- on the bus


def test_emit_many_signs_together_and_emit_alone(pair: tuple[str, str]) -> None:
    private, public = pair
    orders = EventBus(service="orders", signing_key=private)
    billing = EventBus(service="billing", trusted_keys=public, require_signature=True)
    ran: list[int] = []

    @billing.on("order.#", "stock.#")
    def charge(event: Event[dict[str, int]]) -> None:
        ran.append(event.data["n"])

    with in_memory(orders, billing) as memory:
        orders.emit_many([(kind, {"n": n}) for n in range(5) for kind in ("order.a", "stock.b")])
        orders.emit("order.placed", {"n": 5})
        memory.run_until_idle()
        bodies = [entry.body or b"" for entry in memory.store.event_log.read("order")]
        assert not memory.dead
    assert sorted([*range(5)] * 2 + [5]) == sorted(ran)
    found = [split(body) for body in bodies]
    assert [10] * 5 + [None] == [one and one.proof and one.proof.size for one in found]


# -- the wire form, for other languages: docs/internals/signatures.md

VECTOR_KEY = {
    "kty": "OKP",
    "crv": "Ed25519",
    "kid": "example",
    # The key of RFC 8032, 7.1, test 1.
    "d": base64.urlsafe_b64encode(
        bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    )
    .rstrip(b"=")
    .decode(),
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
}


def test_the_documented_vectors_are_what_is_written(request: pytest.FixtureRequest) -> None:
    page = (request.config.rootpath / "docs/internals/signatures.md").read_text()
    [example] = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    vectors = example.strip().encode().split(b"\n")
    signer = make_signer(Settings.load({}, signing_key=json.dumps(VECTOR_KEY)))
    assert signer is not None
    unsigned = [
        b'{"specversion":"1.0","id":"%d","source":"orders","type":"order.placed"}' % n
        for n in (1, 2, 3)
    ]
    assert vectors == signer.sign_many(unsigned)
    public = json.dumps({name: VECTOR_KEY[name] for name in VECTOR_KEY if name != "d"})
    verify = make_verifier(Settings.load({}, trusted_keys=public))
    for raw in vectors:
        verify(raw, decode(raw), "order")
    found = split(vectors[2])
    assert isinstance(found, Signed) and found.proof is not None
    assert (2, 3, 32) == (found.proof.position, found.proof.size, len(found.proof.path))
