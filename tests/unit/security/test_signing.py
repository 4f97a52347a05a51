"""Signing and trust: handlers run only trusted events."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from celeriac import ConfigurationError, Event, EventBus, UntrustedEvent
from celeriac.dead_letter import redrive_dead_letter
from celeriac.event import build_event, decode, encode, read_header
from celeriac.event.signature import attach, redriven_for, signing_input, split
from celeriac.event_log import EntryKind
from celeriac.security import Verifier, make_signer, make_verifier
from celeriac.settings import Settings
from celeriac.testing import MemoryBus, in_memory
from celeriac.tracking import DeliveryState, Matrix
from tests.unit.security.conftest import Keys, together

ran: list[Any] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    ran.clear()


def settings(**given: Any) -> Settings:
    return Settings.load({}, **given)


def signed(private: str, raw: bytes | None = None, **attributes: Any) -> bytes:
    sign = make_signer(settings(signing_key=private))
    assert sign is not None
    given = {"type": "order.placed", "data": {"n": 1}, "source": "orders", "id": "1"}
    return sign.sign(raw or encode(build_event(**{**given, **attributes})))


def verifier(*public: str) -> Verifier:
    return make_verifier(settings(trusted_keys=together(*public)))


def refusal(verify: Verifier, raw: bytes, domain: str = "order") -> str:
    with pytest.raises(UntrustedEvent) as refused:
        verify(raw, decode(raw), domain)
    return str(refused.value)


def test_a_signed_event_is_an_event_like_any_other(keys: Keys) -> None:
    private, public = keys("orders-1")
    raw = signed(private)
    event = decode(raw)
    assert (event.keyid, event.type, read_header(raw).id) == ("orders-1", "order.placed", "1")
    verifier(public)(raw, event, "order")


@pytest.mark.parametrize(
    "attributes",
    [
        {"data": '}"\',"signature":"x"}'},
        {"data": {"keyid": "x", "signature": "y"}},
        {"data": b"\x00\xff"},
        {"data": None},
        {"handlers": ["billing.charge"]},
        {"extensions": {"region": "é 处理"}},
        {"subject": "order/1", "sensitive": "n"},
    ],
)
def test_whatever_the_event_holds_its_signature_counts(
    keys: Keys, attributes: dict[str, Any]
) -> None:
    private, public = keys("orders-1")
    raw = signed(private, **attributes)
    verifier(public)(raw, decode(raw), "order")


def test_no_byte_can_be_changed(keys: Keys) -> None:
    """With any byte flipped, the event is invalid or not trusted."""
    private, public = keys("orders-1")
    raw, verify = signed(private), verifier(public)
    for place in range(len(raw)):
        changed = raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]
        try:
            event = decode(changed)
        except ValueError:
            continue
        with pytest.raises(UntrustedEvent):
            verify(changed, event, "order")


@given(st.binary(max_size=300))
def test_any_bytes_are_split_or_not(raw: bytes) -> None:
    split(raw)
    found = split(attach(signing_input(raw + b"}", "k"), b"\x01" * 64))
    assert found is not None and found.message == raw + b',"keyid":"k"'


def test_an_event_without_a_signature_is_refused_and_so_is_one_elsewhere(keys: Keys) -> None:
    private, public = keys("orders-1")
    plain = encode(build_event("order.placed", 1, source="orders"))
    assert "it is not signed" in refusal(verifier(public), plain)
    moved = json.loads(signed(private))
    moved = {"signature": moved.pop("signature"), **moved}
    assert "does not end with" in refusal(verifier(public), json.dumps(moved).encode())
    nested = json.dumps({**json.loads(plain), "data": json.loads(signed(private))}).encode()
    assert "it is not signed" in refusal(verifier(public), nested)
    spaced = signed(private) + b" "
    assert "does not end with" in refusal(verifier(public), spaced)


def test_an_unknown_key_a_wrong_one_and_a_swapped_one_are_refused(keys: Keys) -> None:
    _, public = keys("orders-1")
    other, other_public = keys("billing-1")
    assert "its key 'billing-1' is not among" in refusal(verifier(public), signed(other))
    same_id, _ = keys("orders-1")
    assert "signature is not valid for the key 'orders-1'" in refusal(
        verifier(public), signed(same_id)
    )
    # billing's own signature, under the id of orders
    swapped = signed(other).replace(b'"keyid":"billing-1"', b'"keyid":"orders-1"')
    assert "signature is not valid" in refusal(verifier(public, other_public), swapped)


def test_a_key_is_bound_to_its_sources_and_types(keys: Keys) -> None:
    private, public = keys("billing-1", sources=["billing"], types=["payment.#", "order.paid"])
    verify = verifier(public)
    good = signed(private, source="billing", type="payment.captured")
    verify(good, decode(good), "payment")
    assert "is not trusted for payment.captured of orders" in refusal(
        verify, signed(private, type="payment.captured"), "payment"
    )
    assert "is not trusted for order.placed of billing" in refusal(
        verify, signed(private, source="billing"), "order"
    )


def test_a_key_is_bound_to_its_tenants(keys: Keys) -> None:
    private, public = keys("orders-1", tenants=["acme", "globex"])
    verify = verifier(public)
    good = signed(private, tenant="acme")
    verify(good, decode(good), "order")
    assert "the key 'orders-1' is not trusted for tenant initech" in refusal(
        verify, signed(private, tenant="initech")
    )
    assert "is not trusted for events without a tenant" in refusal(verify, signed(private))
    _, free = keys("orders-1")
    assert "signature is not valid" in refusal(verifier(free), good)


def test_the_signature_covers_the_tenant(keys: Keys) -> None:
    private, public = keys("orders-1")
    other = signed(private, tenant="acme").replace(b'"tenant":"acme"', b'"tenant":"evil"')
    assert "signature is not valid" in refusal(verifier(public), other)
    bare = signed(private, tenant="acme").replace(b'"tenant":"acme",', b"")
    assert "signature is not valid" in refusal(verifier(public), bare)


def test_a_signed_event_counts_only_in_the_log_that_it_is_for(keys: Keys) -> None:
    """Otherwise a handler of `#` would run a copy of it in another domain."""
    private, public = keys("orders-1")
    assert "does not belong to the domain payment" in refusal(
        verifier(public), signed(private), "payment"
    )


def test_several_keys_are_trusted_at_a_time(keys: Keys) -> None:
    old, old_public = keys("orders-2025")
    new, new_public = keys("orders-2026")
    verify = verifier(old_public, new_public)
    for private in (old, new):
        raw = signed(private)
        verify(raw, decode(raw), "order")


def test_a_signature_has_one_form_only(keys: Keys) -> None:
    """The two unused bits of the last character must be zero."""
    private, public = keys("orders-1")
    raw = signed(private)
    last = raw[-3:-2].decode()
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twin = alphabet[alphabet.index(last) ^ 1]
    assert base64.urlsafe_b64decode(raw[-89:-3] + last.encode() + b"==") is not None
    assert "does not end with" in refusal(verifier(public), raw[:-3] + twin.encode() + raw[-2:])


def test_redriven_for_one_handler_the_signature_still_counts(keys: Keys) -> None:
    private, public = keys("orders-1")
    raw = redriven_for(signed(private), "billing.charge")
    event = decode(raw)
    assert event.handlers == read_header(raw).handlers == ("billing.charge",)
    verifier(public)(raw, event, "order")
    again = redriven_for(raw, "billing.charge")
    assert again == raw


def test_redriving_can_only_reduce_the_handlers_of_an_event(keys: Keys) -> None:
    private, _ = keys("orders-1")
    raw = redriven_for(signed(private, handlers=["a.b", "a.c"]), "billing.charge")
    assert decode(raw).handlers == read_header(raw).handlers == ("a.b", "a.c")
    assert decode(redriven_for(signed(private, handlers=["a.b", "a.c"]), "a.c")).handlers == (
        "a.c",
    )


def test_another_language_needs_ten_lines(keys: Keys) -> None:
    """As in docs/how-to/produce-from-another-language.md."""
    private, public = keys("orders-1")
    jwk = json.loads(private)
    key = Ed25519PrivateKey.from_private_bytes(base64.urlsafe_b64decode(jwk["d"] + "=="))
    event = {"specversion": "1.0", "id": "1", "source": "orders", "type": "order.placed"}
    message = json.dumps({**event, "keyid": jwk["kid"]})[:-1].encode()
    signature = base64.urlsafe_b64encode(key.sign(message)).rstrip(b"=")
    raw = message + b',"signature":"' + signature + b'"}'
    # the spaces of json.dumps are signed as any other byte
    with pytest.raises(UntrustedEvent, match="does not end with"):
        verifier(public)(raw, decode(raw), "order")
    message = json.dumps({**event, "keyid": jwk["kid"]}, separators=(",", ":"))[:-1].encode()
    signature = base64.urlsafe_b64encode(key.sign(message)).rstrip(b"=")
    raw = message + b',"signature":"' + signature + b'"}'
    verifier(public)(raw, decode(raw), "order")


# -- on the bus


@pytest.fixture
def pair(keys: Keys) -> Iterator[tuple[EventBus, EventBus, MemoryBus]]:
    """Return `orders`, which signs, and `billing`, whose handler requires it and has a filter."""
    private, public = keys("orders-1", sources=["orders"])
    orders = EventBus(service="orders", signing_key=private)
    billing = EventBus(service="billing", trusted_keys=public)

    def when(event: Event) -> bool:
        ran.append(("when", event.id))
        return True

    @billing.on("order.#", signed=True, when=when)
    def charge(event: Event[dict[str, int]]) -> None:
        ran.append(("charge", event.id, event.keyid))

    @billing.on("order.#")
    def note(event: Event) -> None:
        ran.append(("note", event.id))

    with in_memory(orders, billing) as memory:
        yield orders, billing, memory


def test_what_is_signed_is_run_and_what_is_not_is_dead_and_never_run(
    pair: tuple[EventBus, EventBus, MemoryBus],
) -> None:
    orders, billing, memory = pair
    orders.emit("order.placed", {"n": 1}, id="good")
    billing.emit("order.placed", {"n": "not a number: its data is not even read"}, id="forged")
    memory.run_until_idle()
    assert ("charge", "good", "orders-1") in ran and ("when", "good") in ran
    # a handler without `signed` gets both
    assert {("note", "good"), ("note", "forged")} <= {*ran}
    assert not {("charge", "forged"), ("when", "forged")} & {one[:2] for one in ran}
    (letter,) = memory.store.deliveries.dead("order")
    assert letter.error == (
        "UntrustedEvent: untrusted: it is not signed, but the handler requires a signature"
    )
    assert (letter.handler, letter.attempts) == ("billing.charge", 1)


@pytest.mark.parametrize("through", ["emit", "emit_many", "delay", "foreign"])
def test_an_unsigned_event_keeps_no_signed_one_with_its_id_from_the_handler(
    pair: tuple[EventBus, EventBus, MemoryBus], through: str
) -> None:
    orders, billing, memory = pair
    forged: dict[str, Any] = {"id": "order-42", "source": "orders"}
    if through == "foreign":
        event = encode(billing.event("order.placed", {"n": 0}, **forged))
        memory.store.event_log.append("order", event)
    else:
        billing.emit("order.placed", {"n": 0}, **forged)
    if through == "emit_many":
        orders.emit_many([orders.event("order.placed", {"n": 1}, id="order-42")])
    else:
        delay = 5 if through == "delay" else None
        orders.emit("order.placed", {"n": 1}, id="order-42", delay=delay)
    memory.run_until_idle()
    assert 1 == ran.count(("charge", "order-42", "orders-1"))
    orders.emit("order.placed", {"n": 1}, id="order-42")
    memory.run_until_idle()
    assert 1 == ran.count(("charge", "order-42", "orders-1"))


def test_a_signed_event_whose_id_cannot_be_guessed_enters_the_log_once(
    pair: tuple[EventBus, EventBus, MemoryBus],
) -> None:
    orders, _, memory = pair
    event = orders.event("order.placed", {"n": 1})
    for _ in range(2):
        orders.emit_many([event])
    assert [EntryKind.GIVEN] == [entry.kind for entry in memory.store.event_log.read("order")]


def test_redriven_it_is_verified_again(pair: tuple[EventBus, EventBus, MemoryBus]) -> None:
    _, billing, memory = pair
    billing.emit("order.placed", {"n": 1}, id="forged")
    memory.run_until_idle()
    (letter,) = memory.store.deliveries.dead("order")
    assert redrive_dead_letter(
        memory.store.backend, memory.store.registry.handlers(), "order", letter.id
    )
    memory.run_until_idle()
    (again,) = memory.store.deliveries.dead("order")
    assert again.id != letter.id and "untrusted" in again.error
    assert ("charge", "forged") not in {one[:2] for one in ran}


def test_a_received_event_that_is_emitted_is_signed_again(
    pair: tuple[EventBus, EventBus, MemoryBus], keys: Keys
) -> None:
    orders, billing, _ = pair
    received = decode(orders.emitter.encode(orders.event("order.placed", {"n": 1}, id="a")))
    assert b"signature" not in billing.emitter.encode(received)
    again = orders.emitter.encode(received.with_data({"n": 2}))
    assert again.count(b'"signature"') == 1
    billing.service.guard.verify(again, decode(again), "order")


def test_the_setting_requires_it_for_every_handler_without_the_option(keys: Keys) -> None:
    _, public = keys("orders-1")
    bus = EventBus(service="billing", trusted_keys=public, require_signature="yes")
    bus.on("a", name="one")(lambda event: None)
    bus.on("a", name="two", signed=False)(lambda event: None)
    found = {handler.name: handler.signed for handler in bus.service.handlers.values()}
    assert found == {"one": True, "two": False}
    assert bus.service.handlers["billing.one"].describe_options()["signed"] == "True"


def test_to_demand_a_signature_without_a_key_is_refused_at_import() -> None:
    bus = EventBus(service="billing")
    with pytest.raises(ConfigurationError, match="CELERIAC_TRUSTED_KEYS has no Ed25519 key"):
        bus.on("a", signed=True)


def test_every_way_to_emit_signs(pair: tuple[EventBus, EventBus, MemoryBus]) -> None:
    orders, _, memory = pair

    async def emit() -> None:
        await orders.aemit("order.placed", {"n": 1}, id="c")
        await orders.aemit_many([("order.placed", {"n": 1})])

    orders.emit("order.placed", {"n": 1}, id="a", delay=5)
    orders.emit_many([("order.placed", {"n": 1}), {"type": "order.placed", "data": {"n": 1}}])
    orders.emit_many([orders.event("order.placed", {"n": 1})])
    asyncio.run(emit())
    memory.run_until_idle()
    assert [one[0] for one in ran].count("charge") == 6
    assert not memory.store.deliveries.dead("order")


def test_without_any_key_nothing_is_signed_and_cryptography_is_not_imported() -> None:
    assert make_signer(settings()) is None


@pytest.mark.parametrize("settled_between", [True, False])
def test_a_forged_event_does_not_take_the_id_of_the_true_one(
    pair: tuple[EventBus, EventBus, MemoryBus], settled_between: bool
) -> None:
    """Ids that producers choose can be guessed: the forged event may come first."""
    orders, billing, memory = pair
    billing.emit("order.placed", {"n": 1}, id="order-42", source="orders")
    if settled_between:
        memory.run_until_idle()
    orders.emit("order.placed", {"n": 1}, id="order-42")
    memory.run_until_idle()
    assert ran.count(("charge", "order-42", "orders-1")) == 1
    (letter,) = memory.store.deliveries.dead("order")
    assert letter.error.startswith("UntrustedEvent")


def test_what_was_refused_is_shown_as_dead_with_its_error(
    pair: tuple[EventBus, EventBus, MemoryBus],
) -> None:
    _, billing, memory = pair
    billing.emit("order.placed", {"n": 1}, id="forged")
    memory.run_until_idle()
    cells = Matrix(memory.store.backend).status("forged").cells
    (cell,) = [cell for cell in cells if cell.handler == "billing.charge"]
    assert (cell.state, cell.attempts) == (DeliveryState.DEAD, 1)
    assert (cell.error or "").startswith("UntrustedEvent: untrusted: it is not signed")
