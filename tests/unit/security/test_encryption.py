"""Encrypted data: emitted, stored, decrypted by its recipients only, and hidden from display."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pydantic
import pytest

from celeriac import (
    ConfigurationError,
    EncryptionError,
    Event,
    EventBus,
    EventTooLarge,
    InvalidData,
    InvalidEvent,
)
from celeriac.dead_letter import redrive_dead_letter
from celeriac.dispatcher.message_filter import outcome_of
from celeriac.event import decode, is_encrypted, masked, masked_envelope, read_header
from celeriac.event.encrypted import ENCRYPTED, Jwe
from celeriac.security.decrypter import make_decrypter
from celeriac.security.encrypter import make_encrypter
from celeriac.security.key import public_keys
from celeriac.settings import Settings
from celeriac.testing import MemoryBus, in_memory
from tests.unit.security.conftest import Keys, together

ran: list[Any] = []
SECRET = "4111111111111111"


@pytest.fixture(autouse=True)
def fresh() -> None:
    ran.clear()


class Order(pydantic.BaseModel):
    card: str


@pytest.fixture
def key_pairs(keys: Keys) -> dict[str, tuple[str, str]]:
    return {name: keys(name, encryption=True) for name in ("billing", "shipping", "audit")}


@pytest.fixture
def trusted(key_pairs: dict[str, tuple[str, str]]) -> str:
    return together(*(public for _, public in key_pairs.values()))


@pytest.fixture
def orders(trusted: str) -> EventBus:
    return EventBus(service="orders", trusted_keys=trusted)


def raw_of(orders: EventBus, data: Any, *names: str, **attributes: Any) -> bytes:
    event = orders.event("order.placed", data, encrypt_for=names, **attributes)
    return orders.emitter.encode(event)


def open_with(private: str, raw: bytes) -> Event[Any]:
    return make_decrypter(Settings.load({}, encryption_key=private))(decode(raw))


@pytest.mark.parametrize(
    ("data", "content_type", "wanted"),
    [
        ({"card": SECRET}, None, b'{"card":"4111111111111111"}'),
        (Order(card="1"), None, b'{"card":"1"}'),
        ([], "application/vnd.order+json", b"[]"),
        ("<a/>", "application/xml", b'"<a/>"'),
        (b"\x00\xff", None, b"\x00\xff"),
        (b"", "image/png", b""),
        (b"[1]", "application/json", b"[1]"),
        (b"null", "text/plain", b"null"),
        ({}, None, b"{}"),
        ("", None, b'""'),
        (None, None, None),
    ],
)
def test_each_recipient_has_the_data_as_it_was(
    orders: EventBus,
    key_pairs: dict[str, tuple[str, str]],
    data: Any,
    content_type: str | None,
    wanted: bytes | None,
) -> None:
    raw = raw_of(orders, data, "billing", "shipping", datacontenttype=content_type)
    assert SECRET.encode() not in raw
    assert decode(raw).datacontenttype == ENCRYPTED
    for name in ("billing", "shipping"):
        event = open_with(key_pairs[name][0], raw)
        binary = isinstance(data, bytes)
        assert (None if event.data is None else bytes(event.data)) == wanted
        assert event.data is None or isinstance(event.data, bytes if binary else msgspec.Raw)
        default = "application/octet-stream" if binary else None
        assert event.datacontenttype == (content_type or default)


def test_of_many_recipients_each_can_decrypt_it_and_no_other_service(keys: Keys) -> None:
    key_pairs = {f"s{n}": keys(f"s{n}", encryption=True) for n in range(50)}
    trusted = together(*(public for _, public in key_pairs.values()))
    raw = raw_of(EventBus(service="a", trusted_keys=trusted), 1, *list(key_pairs)[:-1])
    for name in ("s0", "s24", "s48"):
        assert bytes(open_with(key_pairs[name][0], raw).data) == b"1"
    with pytest.raises(EncryptionError, match=r"encrypted for the keys s0, s1, .* has s49"):
        open_with(key_pairs["s49"][0], raw)
    assert masked(decode(raw)).endswith("s18, s19, 29 more")


def test_a_ciphertext_counts_in_its_own_event_alone(
    orders: EventBus, key_pairs: dict[str, tuple[str, str]]
) -> None:
    one = json.loads(raw_of(orders, 1, "billing", id="one", subject="a"))
    private = key_pairs["billing"][0]
    for change in ({"id": "two"}, {"source": "x"}, {"type": "order.refunded"}):
        with pytest.raises(EncryptionError, match="for another event"):
            open_with(private, json.dumps({**one, **change}).encode())
    # attributes outside the binding can be modified; only a signature protects them
    assert bytes(open_with(private, json.dumps({**one, "subject": "b"}).encode()).data) == b"1"


def test_another_key_of_the_same_name_opens_nothing(orders: EventBus, keys: Keys) -> None:
    other, _ = keys("billing", encryption=True)
    with pytest.raises(EncryptionError, match="or encrypted for another key with the same id"):
        open_with(other, raw_of(orders, 1, "billing"))


@pytest.mark.parametrize("data", [None, 1, "x", {}, {"protected": 1}, b"x", [[]]])
def test_what_only_claims_to_be_encrypted_is_refused(
    orders: EventBus, key_pairs: dict[str, tuple[str, str]], data: Any
) -> None:
    raw = orders.emitter.encode(orders.event("order.placed", data, datacontenttype=ENCRYPTED))
    with pytest.raises(EncryptionError, match="its data is not a JWE"):
        open_with(key_pairs["billing"][0], raw)
    assert masked(decode(raw)) in ("encrypted", None)


def test_while_a_service_changes_its_key_either_opens_it(keys: Keys) -> None:
    old, old_public = keys("billing-2025", encryption=True, service="billing")
    new, new_public = keys("billing-2026", encryption=True, service="billing")
    bus = EventBus(service="orders", trusted_keys=together(old_public, new_public))
    raw = raw_of(bus, 1, "billing")
    for private in (old, new, together(old, new)):
        assert bytes(open_with(private, raw).data) == b"1"
    assert masked(decode(raw)) == "encrypted for billing-2025, billing-2026"


def test_the_owner_of_a_key_is_its_member_or_else_its_id(keys: Keys) -> None:
    named = together(keys("a", encryption=True)[1], keys("b-1", encryption=True, service="b")[1])
    found = public_keys(named, setting="X", curve="X25519")
    assert {key.id: key.service for key in found.values()} == {"a": "a", "b-1": "b"}
    bad = json.dumps({**json.loads(keys("c", encryption=True)[1]), "service": 1})
    with pytest.raises(ConfigurationError, match="`service` of the key 'c' must be a string"):
        public_keys(bad, setting="X", curve="X25519")


# -- what emit refuses


def test_a_service_without_a_key_cannot_be_encrypted_for(keys: Keys) -> None:
    names = [f"billing{n}" for n in range(10)]
    trusted = together(*(keys(name, encryption=True)[1] for name in reversed(names)))
    orders = EventBus(service="orders", trusted_keys=trusted)
    known = f"no X25519 key of that service, only of {', '.join(names)}."
    with pytest.raises(EncryptionError, match=known):
        orders.emit("order.placed", 1, encrypt_for=["billing1", "biling1"])
    with pytest.raises(
        EncryptionError, match=r"only of none\. Create a key with `celeriac keys generate billing"
    ):
        EventBus(service="orders").emit("order.placed", 1, encrypt_for=["billing"])


def test_in_the_middle_of_many_the_error_counts_what_was_emitted(orders: EventBus) -> None:
    with in_memory(orders), pytest.raises(EncryptionError) as refused:
        orders.emit_many(
            [{"type": "a", "data": 1}] * 500 + [{"type": "a", "encrypt_for": ["nobody"]}]
        )
    assert refused.value.emitted == 500


@pytest.mark.parametrize("given", ["billing", [], (), 1, [1], b"billing"])
def test_recipients_are_a_list_of_at_least_one_name(orders: EventBus, given: Any) -> None:
    with pytest.raises(InvalidEvent, match="encrypt_for="):
        orders.emit("order.placed", 1, encrypt_for=given)
    with pytest.raises(InvalidEvent, match="encrypt_for="):
        orders.declare("order.placed", Order, encrypt_for=given)


def test_data_without_a_json_form_or_of_another_type_is_refused_as_ever(orders: EventBus) -> None:
    with pytest.raises(InvalidData, match="cannot be encoded"):
        orders.emit("order.placed", object(), encrypt_for=["billing"])
    orders.declare("order.placed", Order)
    with pytest.raises(InvalidData, match="does not fit Order"):
        orders.emit("order.placed", {"card": 1}, encrypt_for=["billing"])


def test_the_limit_of_size_holds_for_what_is_written(trusted: str) -> None:
    bus = EventBus(service="orders", trusted_keys=trusted, max_event_bytes=1500)
    assert len(raw_of(bus, "x" * 100, "billing")) < 1500
    with pytest.raises(EventTooLarge):
        raw_of(bus, "x" * 1000, "billing")


def test_a_private_key_that_cannot_be_used_is_refused_at_import(keys: Keys, tmp_path: Path) -> None:
    signing, _ = keys("billing")
    for given in (signing, str(tmp_path / "none.json"), "{}"):
        with pytest.raises(ConfigurationError, match="CELERIAC_ENCRYPTION_KEY"):
            EventBus(service="billing", encryption_key=given).on("a")
    private, _ = keys("billing", encryption=True)
    twice = together(private, private)
    with pytest.raises(ConfigurationError, match="two keys with the same id"):
        EventBus(service="billing", encryption_key=twice).on("a")
    assert json.loads(private)["d"] not in repr(Settings.load({}, encryption_key=private))


# -- declared


def test_a_declared_type_is_encrypted_at_every_emit(
    orders: EventBus, key_pairs: dict[str, tuple[str, str]]
) -> None:
    orders.declare("order.placed", Order, encrypt_for=["billing"])
    event = orders.event("order.placed", {"card": SECRET})
    raw = orders.emitter.encode(event)
    assert masked(decode(raw)) == "encrypted for billing"
    opened = open_with(key_pairs["billing"][0], raw)
    assert bytes(opened.data) == b'{"card":"4111111111111111"}'
    # data that a handler got decrypted is encrypted again
    assert SECRET.encode() not in orders.emitter.encode(opened)
    # the recipients of an emit replace the declared ones
    assert masked(decode(raw_of(orders, {"card": "1"}, "audit"))) == "encrypted for audit"
    orders.declare("order.placed", Order)
    assert not is_encrypted(decode(orders.emitter.encode(event)))


# -- on the bus


@pytest.fixture
def running(
    orders: EventBus, key_pairs: dict[str, tuple[str, str]]
) -> Iterator[tuple[EventBus, MemoryBus]]:
    """`billing` and `shipping` have their keys; `mail` has none."""
    buses = [orders]
    for name in ("billing", "shipping", "mail"):
        bus = EventBus(service=name, encryption_key=key_pairs[name][0] if name in key_pairs else "")

        def when(event: Event[Order], name: str = name) -> bool:
            ran.append(("when", name, event.data.card))
            return event.data.card != "unwanted"

        def handle(event: Event[Order], name: str = name) -> None:
            ran.append((name, event.data.card))
            if event.data.card == SECRET:
                raise ValueError(f"{event.data.card} was declined")

        bus.on("order.#", when=when, retries=0)(handle)
        buses.append(bus)
    with in_memory(*buses) as memory:
        yield orders, memory


def test_recipients_run_and_the_others_have_a_dead_letter_with_the_reason(
    running: tuple[EventBus, MemoryBus],
) -> None:
    orders, memory = running
    orders.emit("order.placed", Order(card="1"), encrypt_for=["billing", "shipping"], id="a")
    orders.emit("order.placed", Order(card="2"), id="b")
    memory.run_until_idle()
    assert {("billing", "1"), ("shipping", "1"), ("mail", "2"), ("billing", "2")} <= {*ran}
    assert ("mail", "1") not in ran and ("when", "mail", "1") not in ran
    (letter,) = memory.store.deliveries.dead("order")
    assert (letter.handler, letter.attempts) == ("mail.handle", 1)
    assert letter.error == (
        "EncryptionError: cannot be decrypted: it is encrypted for the keys billing, shipping, but "
        "this service has none. Set CELERIAC_ENCRYPTION_KEY, or list the service in encrypt_for of "
        "the emit"
    )


def test_a_filter_gets_plain_data_and_only_the_executor_calls_it(
    running: tuple[EventBus, MemoryBus],
) -> None:
    orders, memory = running
    keyless = EventBus(service="billing")
    keyless.on("order.#", name="handle", when=lambda event: pytest.fail("asked"))(
        lambda event: None
    )
    handler = keyless.service.handlers["billing.handle"]
    raw = raw_of(orders, {"card": "unwanted"}, "billing")
    assert outcome_of(handler, read_header(raw), raw) is None
    orders.emit("order.placed", {"card": "unwanted"}, encrypt_for=["billing", "shipping"])
    memory.run_until_idle()
    assert ("when", "billing", "unwanted") in ran and ("billing", "unwanted") not in ran


def test_no_value_of_it_is_in_what_is_kept_of_a_failure(
    running: tuple[EventBus, MemoryBus], caplog: pytest.LogCaptureFixture
) -> None:
    """The text of an exception is stored in Redis unencrypted."""
    orders, memory = running
    orders.emit("order.placed", {"card": SECRET}, encrypt_for=["billing", "shipping"])
    memory.run_until_idle()
    letters = [
        one for one in memory.store.deliveries.dead("order") if one.handler == "billing.handle"
    ]
    assert [one.error for one in letters] == ["ValueError: *** was declined"]
    assert SECRET not in letters[0].traceback + caplog.text
    assert SECRET.encode() not in letters[0].event


def test_redriven_it_is_opened_again(
    running: tuple[EventBus, MemoryBus], key_pairs: dict[str, tuple[str, str]]
) -> None:
    orders, memory = running
    orders.emit(
        "order.placed", {"card": SECRET}, encrypt_for=["billing"], handlers=["billing.handle"]
    )
    memory.run_until_idle()
    (letter,) = memory.store.deliveries.dead("order")
    backend, records = memory.store.backend, memory.store.registry.handlers()
    assert redrive_dead_letter(backend, records, "order", letter.id)
    memory.run_until_idle()
    assert ran.count(("billing", SECRET)) == 2
    (again,) = memory.store.deliveries.dead("order")
    assert (
        bytes(open_with(key_pairs["billing"][0], again.event).data)
        == b'{"card":"4111111111111111"}'
    )


def test_every_way_to_emit_encrypts(running: tuple[EventBus, MemoryBus]) -> None:
    orders, memory = running
    to: dict[str, Any] = {"encrypt_for": ["billing"], "handlers": ["billing.handle"]}

    async def emit() -> None:
        await orders.aemit("order.placed", {"card": "c"}, **to)
        await orders.aemit_many([{"type": "order.placed", "data": {"card": "d"}, **to}])

    orders.emit("order.placed", {"card": "a"}, delay=5, **to)
    orders.emit_many([{"type": "order.placed", "data": {"card": "b"}, **to}])
    orders.emit_many([orders.event("order.placed", {"card": "e"}, **to)])
    asyncio.run(emit())
    assert all(is_encrypted(one.event) for one in memory.store.event_log.emitted)
    memory.run_until_idle()
    assert sorted(one[1] for one in ran if one[0] == "billing") == ["a", "b", "c", "d", "e"]


def test_only_the_recipients_of_an_event_are_shown(orders: EventBus) -> None:
    raw = raw_of(orders, {"card": SECRET}, "billing", "shipping", sensitive=["card"])
    assert masked(decode(raw)) == "encrypted for billing, shipping"
    shown = masked_envelope(raw, {"card"})
    assert shown["data"] == "encrypted for billing, shipping"
    assert "ciphertext" not in json.dumps(shown)


def test_what_is_signed_is_the_encrypted_event(
    keys: Keys, key_pairs: dict[str, tuple[str, str]]
) -> None:
    signing, verifying = keys("orders-1", sources=["orders"])
    private, public = key_pairs["billing"]
    orders = EventBus(service="orders", signing_key=signing, trusted_keys=public)
    billing = EventBus(service="billing", trusted_keys=verifying, encryption_key=private)

    @billing.on("order.#", signed=True, when=lambda event: event.data == 1)
    def charge(event: Event[int]) -> None:
        ran.append((event.id, event.data))

    with in_memory(orders, billing) as memory:
        orders.emit("order.placed", 1, encrypt_for=["billing"], id="good")
        # by an attacker who has the public key and cannot sign
        forger = EventBus(service="orders", trusted_keys=public)
        forger.emit("order.placed", 1, encrypt_for=["billing"], id="forged")
        memory.run_until_idle()
        assert ran == [("good", 1)]
        (letter,) = memory.store.deliveries.dead("order")
        assert "untrusted: it is not signed" in letter.error


def test_without_recipients_no_key_is_read_and_nothing_is_encrypted() -> None:
    bus = EventBus(service="orders", trusted_keys="/nowhere")
    assert not is_encrypted(decode(bus.emitter.encode(bus.event("a", 1))))
    assert bus.emitter._encrypter is None


def test_the_keys_of_the_settings_are_read_once(orders: EventBus) -> None:
    first = raw_of(orders, 1, "billing"), orders.emitter._encrypter
    second = raw_of(orders, 1, "billing"), orders.emitter._encrypter
    assert first[1] is second[1] is not None and first[0] != second[0]


def test_a_jwe_of_another_producer_needs_the_binding(
    orders: EventBus, key_pairs: dict[str, tuple[str, str]]
) -> None:
    document = json.loads(raw_of(orders, 1, "billing"))
    document["data"].pop("aad")
    assert msgspec.convert(document["data"], Jwe).aad == ""
    with pytest.raises(EncryptionError, match="for another event"):
        open_with(key_pairs["billing"][0], json.dumps(document).encode())
    with pytest.raises(ConfigurationError, match="no such file"):
        make_encrypter(Settings.load({}, trusted_keys="/nowhere"))
