"""Data that is encrypted for a subject: read by handlers until the subject is erased."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from celeriac import (
    EncryptionError,
    Event,
    EventBus,
    InvalidEvent,
    SubjectErased,
    SubjectKeysUnavailable,
)
from celeriac.archive.archiver import ArchiveOptions, Archiver
from celeriac.archive.replay import ArchiveReplayer
from celeriac.archive.replay_options import ArchiveReplayOptions
from celeriac.archive.storage import ArchiveFile, Storage
from celeriac.delivery import DeliveryState
from celeriac.event import decode
from celeriac.event.encrypted import encrypted_for, read_jwe
from celeriac.explain import BusReader, explain, gather
from celeriac.explain.code import Code
from celeriac.security import cached_subject_keys
from celeriac.security.cached_subject_keys import CACHE_SECONDS, CachedSubjectKeys
from celeriac.security.generate import generate
from celeriac.subject_keys import SUBJECT, MemorySubjectKeys, SubjectKey, subject_key
from celeriac.testing import MemoryBus, in_memory
from celeriac.tracking import Matrix

SECRET = "4111111111111111"


class Shop:
    """Orders emits, and billing handles: both with one store of keys. Time is that of `now`."""

    def __init__(self, memory: MemoryBus, orders: EventBus, billing: EventBus) -> None:
        self.memory, self.orders, self.billing = memory, orders, billing
        self.seen: list[Any] = []
        self.now = 0.0

    def on(self, **options: Any) -> None:
        @self.billing.on("order.*", name="charge", **options)
        def charge(event: Event[Any]) -> None:
            self.seen.append(event.data)

    def bodies(self) -> list[bytes]:
        return [entry.body or b"" for entry in self.memory.store.event_log.read("order")]

    def state(self, id: str) -> DeliveryState:
        [cell] = Matrix(self.memory.store.backend).status(id).cells
        return cell.state


@pytest.fixture
def keys() -> MemorySubjectKeys:
    return MemorySubjectKeys()


@pytest.fixture
def pair() -> tuple[str, str]:
    private, public = generate("billing", encryption=True)
    return json.dumps(private), json.dumps(public)


@pytest.fixture
def shop(
    keys: MemorySubjectKeys, pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Shop]:
    orders = EventBus(service="orders", subject_keys=keys, trusted_keys=pair[1])
    billing = EventBus(service="billing", subject_keys=keys, encryption_key=pair[0])
    with in_memory(orders, billing) as memory:
        shop = Shop(memory, orders, billing)
        for bus in (orders, billing):
            cached = bus.service.guard.subject_keys
            assert cached is not None
            for cache in (cached._keys, cached._secrets):
                monkeypatch.setattr(cache, "_clock", lambda: shop.now)
        yield shop


def emit(shop: Shop, **given: Any) -> str:
    options = {"subject": "customer-42", "encrypt_for": [SUBJECT], **given}
    return shop.orders.emit("order.placed", {"card": SECRET}, **options)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"subject": "order/7", "encrypt_for": [subject_key("customer-42")]},
        {"encrypt_for": [SUBJECT, "billing"]},
        {"encrypt_for": ["billing", subject_key("customer-42")]},
    ],
)
def test_a_handler_gets_plain_data_until_the_subject_is_erased(
    shop: Shop, keys: MemorySubjectKeys, options: dict[str, Any]
) -> None:
    shop.on()
    emit(shop, **options)
    [body] = shop.bodies()
    assert SECRET.encode() not in body
    assert "subject:" in encrypted_for(decode(body))
    shop.memory.run_until_idle()
    assert [{"card": SECRET}] == shop.seen
    id = emit(shop, **options)
    keys.erase("customer-42", actor="ann")
    shop.now += CACHE_SECONDS
    shop.memory.run_until_idle()
    assert 1 == len(shop.seen)
    assert DeliveryState.SKIPPED is shop.state(id)
    assert [] == shop.memory.dead


def test_other_subjects_stay_readable(shop: Shop, keys: MemorySubjectKeys) -> None:
    shop.on()
    emit(shop)
    emit(shop, subject="customer-43")
    keys.erase("customer-42", actor="ann")
    shop.memory.run_until_idle()
    assert [{"card": SECRET}] == shop.seen


def test_a_service_that_is_no_recipient_cannot_read_it(shop: Shop) -> None:
    """The subject's key alone does not open data that is also encrypted for services."""
    emit(shop, encrypt_for=[SUBJECT, "billing"])
    event = decode(shop.bodies()[0])
    with pytest.raises(EncryptionError, match="it is encrypted for the keys billing"):
        shop.orders.service.guard.decrypt(event)


@pytest.mark.parametrize(
    "options", [{}, {"ordered": True}, {"retries": 5}, {"batch": 10}, {"time_limit": 5}]
)
def test_an_erased_event_is_skipped_in_every_kind_of_handler(
    shop: Shop, keys: MemorySubjectKeys, options: dict[str, Any]
) -> None:
    @shop.billing.on("order.*", name="charge", **options)
    def charge(given):  # type: ignore[no-untyped-def]
        shop.seen.append(given)

    ids = [emit(shop) for _ in range(3)]
    keys.erase("customer-42", actor="ann")
    result = shop.memory.run_until_idle()
    assert (3, 0, []) == (result.skipped, len(shop.memory.dead), shop.seen)
    assert {DeliveryState.SKIPPED} == {shop.state(id) for id in ids}


def test_a_redriven_dead_letter_of_an_erased_subject_is_skipped(
    shop: Shop, keys: MemorySubjectKeys
) -> None:
    @shop.billing.on("order.*", name="charge", retries=0)
    def charge(event: Event[Any]) -> None:
        raise ValueError("declined")

    id = emit(shop)
    shop.memory.run_until_idle()
    backend = shop.memory.store.backend
    [letter] = backend.deliveries.dead("order")
    assert SECRET.encode() not in letter.event
    keys.erase("customer-42", actor="ann")
    shop.now += CACHE_SECONDS
    group = next(iter(shop.billing.service.handlers.values())).group("order")
    backend.deliveries.redrive(group, [(letter, letter.event)])
    shop.memory.run_until_idle()
    assert DeliveryState.SKIPPED is shop.state(id)
    assert [] == shop.memory.dead


def test_an_archived_event_of_an_erased_subject_is_skipped(
    shop: Shop, keys: MemorySubjectKeys, tmp_path: Path
) -> None:
    shop.on()
    id = emit(shop)
    shop.memory.run_until_idle()
    backend, storage = shop.memory.store.backend, Storage((tmp_path / "archive").as_uri())
    Archiver(backend, shop.orders.settings, storage, ArchiveOptions()).drain()
    [[archived]] = [
        events
        for day in storage.days("order")
        for first in storage.firsts("order", day)
        for events in storage.read(ArchiveFile("order", first))
    ]
    assert SECRET.encode() not in archived.body
    shop.memory.advance(30 * 86_400)
    backend.event_log.trim("order", exact=True)
    keys.erase("customer-42", actor="ann")
    shop.now += CACHE_SECONDS
    options = ArchiveReplayOptions(url=storage.url, since_ms=0)
    record = backend.registry.handlers()["billing.charge"]
    replayer = ArchiveReplayer(backend, storage, record, options)
    replayer.begin(b"")
    assert 1 == replayer.run(b"").scheduled
    assert 1 == shop.memory.run_until_idle().skipped
    assert 1 == len(shop.seen)
    assert DeliveryState.SKIPPED is shop.state(id)


@pytest.mark.parametrize("options", [{}, {"when": lambda event: True}])
def test_explain_names_the_erasure(
    shop: Shop, keys: MemorySubjectKeys, options: dict[str, Any]
) -> None:
    shop.on(**options)
    id = emit(shop)
    keys.erase("customer-42", actor="ann")
    shop.memory.run_until_idle()
    backend = shop.memory.store.backend
    reading = BusReader(backend, lease_ms=30_000)
    [facts] = gather(reading, Matrix(backend).find(id), reading.names)
    decision = explain(facts).decision
    assert ("key" if not options else "when") == decision.name
    [handler] = shop.billing.service.handlers.values()
    result = Code(handler, shop.billing.service.guard).judge(
        shop.bodies()[0], decode(shop.bodies()[0])
    )
    known = explain(replace(facts, **result.facts())).decision
    assert "key" == known.name
    assert "skipped: the key of its subject was erased at" in known.text


def test_nothing_is_emitted_for_an_erased_subject(shop: Shop, keys: MemorySubjectKeys) -> None:
    keys.erase("customer-42", actor="ann")
    with pytest.raises(SubjectErased, match="was erased at"):
        emit(shop)
    assert [] == shop.bodies()


def test_an_erasure_takes_effect_within_the_time_of_the_cache(
    shop: Shop, keys: MemorySubjectKeys
) -> None:
    shop.on()
    emit(shop)
    shop.memory.run_until_idle()
    keys.erase("customer-42", actor="ann")
    shop.now = CACHE_SECONDS - 0.1
    emit(shop)
    shop.memory.run_until_idle()
    assert 2 == len(shop.seen)
    shop.now = CACHE_SECONDS
    with pytest.raises(SubjectErased):
        emit(shop)


def test_the_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cached_subject_keys, "MAX_CACHED", 3)
    reads = []

    class Counting(MemorySubjectKeys):
        def key_of(self, subject: str) -> SubjectKey:
            reads.append(subject)
            return super().key_of(subject)

    cached = CachedSubjectKeys(Counting(), lambda: 0.0)
    for subject in ("a", "b", "c", "c", "d", "a"):
        cached.key_of(subject)
    assert ["a", "b", "c", "d", "a"] == reads


def test_a_declared_type_is_encrypted_for_the_subject_of_each_event(
    shop: Shop, keys: MemorySubjectKeys
) -> None:
    shop.orders.declare("order.placed", dict, encrypt_for=[SUBJECT])
    shop.orders.emit_many(
        {"type": "order.placed", "data": {"n": n}, "subject": f"customer-{n}"} for n in range(3)
    )
    used = [read_jwe(decode(body)).recipients[0].header["kid"] for body in shop.bodies()]
    assert [keys.key_of(f"customer-{n}").id for n in range(3)] == used


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"subject": None}, "has no subject"),
        ({"encrypt_for": [subject_key("a"), subject_key("b")]}, "has 2 subjects"),
        ({"encrypt_for": ["@" + "x" * 256]}, "1 to 255 characters"),
        ({"encrypt_for": [SUBJECT, "nobody"]}, "has no X25519 key of that service"),
    ],
)
def test_wrong_recipients_are_refused(shop: Shop, given: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidEvent, match=message):
        emit(shop, **given)
    assert [] == shop.bodies()


def test_a_bus_without_a_store_cannot_encrypt_for_subjects(shop: Shop) -> None:
    mail = EventBus(service="mail")
    with pytest.raises(EncryptionError, match=r"Pass subject_keys=\.\.\. to its EventBus"):
        mail.emit("order.placed", {}, subject="a", encrypt_for=[SUBJECT])


@pytest.mark.parametrize("options", [{}, {"subject_keys": MemorySubjectKeys()}])
def test_a_service_with_another_store_dead_letters_the_event(
    keys: MemorySubjectKeys, options: dict[str, Any]
) -> None:
    orders = EventBus(service="orders", subject_keys=keys)
    mail = EventBus(service="mail", **options)

    @mail.on("order.*")
    def greet(event: Event[Any]) -> None: ...

    with in_memory(orders, mail) as memory:
        orders.emit("order.placed", {}, subject="a", encrypt_for=[SUBJECT])
        memory.run_until_idle()
        [dead] = memory.dead
    assert "EncryptionError: cannot be decrypted" in dead.error and "subject_keys" in dead.error


def test_a_store_that_fails_is_retried(
    shop: Shop, keys: MemorySubjectKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.on(retries=3)
    id = emit(shop)
    shop.now += CACHE_SECONDS
    fails = [OSError("refused")] * 2
    secret_of: Callable[[str], bytes | None] = keys.secret_of

    def failing(key_id: str) -> bytes | None:
        if fails:
            raise fails.pop()
        return secret_of(key_id)

    monkeypatch.setattr(keys, "secret_of", failing)
    shop.memory.run_until_idle()
    assert [{"card": SECRET}] == shop.seen
    assert DeliveryState.PROCESSED is shop.state(id)
    with pytest.raises(SubjectKeysUnavailable, match=r"failed \(OSError\)"):
        fails.append(OSError("refused"))
        CachedSubjectKeys(keys).secret_of(keys.key_of("customer-42").id)


def test_errors_are_not_shown_while_their_data_cannot_be_decrypted(
    shop: Shop, keys: MemorySubjectKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store fails after the handler got the data: its values cannot be masked one by one."""

    @shop.billing.on("order.*", name="charge", retries=0)
    def charge(event: Event[Any]) -> None:
        shop.now += CACHE_SECONDS

        def fail(key_id: str) -> None:
            raise OSError("refused")

        monkeypatch.setattr(keys, "secret_of", fail)
        raise ValueError(f"card {event.data['card']} was declined")

    emit(shop)
    shop.memory.run_until_idle()
    [letter] = shop.memory.store.backend.deliveries.dead("order")
    assert "ValueError: the text is not shown" in letter.error
    assert SECRET not in letter.error + letter.traceback


def test_a_ciphertext_is_bound_to_its_event_and_its_algorithm(
    shop: Shop, keys: MemorySubjectKeys
) -> None:
    emit(shop)
    body = json.loads(shop.bodies()[0])
    guard = shop.orders.service.guard
    for change in (
        {"id": "other"},
        {"data": {**body["data"], "recipients": [
            {**body["data"]["recipients"][0], "header": {
                **body["data"]["recipients"][0]["header"], "alg": "dir"}}]}},
        {"data": {**body["data"], "tag": "A" * 22}},
    ):  # fmt: skip
        with pytest.raises(EncryptionError, match="cannot be decrypted"):
            guard.decrypt(decode(json.dumps({**body, **change}).encode()))


def test_one_store_belongs_to_a_service(keys: MemorySubjectKeys) -> None:
    from celery import Celery

    from celeriac import ConfigurationError

    app = Celery("billing")
    EventBus(app, subject_keys=keys)
    with pytest.raises(ConfigurationError, match="Give the keys to that one"):
        EventBus(app, subject_keys=keys)
