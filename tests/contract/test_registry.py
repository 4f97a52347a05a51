"""The promises of Registry."""

from __future__ import annotations

import msgspec

from celeriac.registry import HandlerRecord, WorkerRecord
from tests.contract.store import HOUR_MS, MemoryStore, RedisStore, Store

CHARGE = HandlerRecord(
    id="billing.charge",
    service="billing",
    patterns=("order.placed",),
    queue="billing",
    ordered=True,
    since={"order": "0-0"},
    registered_ms=7,
    options={"retries": "8"},
    doc="Charges the card.",
)
WORKER = WorkerRecord(
    name="billing@host",
    service="billing",
    hostname="host",
    pid=42,
    pool="prefork",
    processes=2,
    queues=("billing",),
    version="1.0",
)


def test_a_registered_handler_is_known_with_all_that_was_said(store: Store) -> None:
    assert {} == store.registry.handlers()
    store.registry.register(CHARGE)
    assert {CHARGE.id: CHARGE} == store.registry.handlers()


def test_handlers_come_in_the_order_of_their_ids(store: Store) -> None:
    for name in ("b.b", "a.a", "c.c"):
        store.registry.register(msgspec.structs.replace(CHARGE, id=name))
    assert ["a.a", "b.b", "c.c"] == list(store.registry.handlers())


def test_registering_again_replaces_the_record(store: Store) -> None:
    changed = msgspec.structs.replace(CHARGE, patterns=("order.#",))
    store.registry.register(CHARGE)
    store.registry.register(changed)
    assert {CHARGE.id: changed} == store.registry.handlers()


def test_a_removed_handler_is_remembered_as_removed_until_it_registers(store: Store) -> None:
    store.registry.register(CHARGE)
    assert not store.registry.was_removed(CHARGE.id)
    assert store.registry.unregister(CHARGE.id)
    assert not store.registry.unregister(CHARGE.id)
    assert {} == store.registry.handlers()
    assert store.registry.was_removed(CHARGE.id)
    store.registry.register(CHARGE)
    assert not store.registry.was_removed(CHARGE.id)


def test_a_beat_is_stamped_with_the_time_of_the_store(store: Store) -> None:
    before = store.registry.now_ms()
    store.registry.beat(WORKER)
    [found] = store.registry.workers()
    assert before <= found.beat_ms <= store.registry.now_ms()
    assert found.clock_ms > 0
    assert WORKER == msgspec.structs.replace(found, beat_ms=0, clock_ms=0)


def test_a_worker_that_departed_is_gone(store: Store) -> None:
    store.registry.beat(WORKER)
    store.registry.beat(msgspec.structs.replace(WORKER, name="a@host"))
    assert ["a@host", WORKER.name] == [w.name for w in store.registry.workers()]
    store.registry.depart(WORKER.name)
    store.registry.depart(WORKER.name)
    assert ["a@host"] == [w.name for w in store.registry.workers()]


def test_a_worker_silent_for_an_hour_is_forgotten(store: Store) -> None:
    store.registry.beat(WORKER)
    if isinstance(store, MemoryStore):
        store.clock.advance(HOUR_MS + 1)
    else:
        assert isinstance(store, RedisStore)
        long_ago = store.registry.now_ms() - HOUR_MS - 1000
        record = msgspec.structs.replace(WORKER, beat_ms=long_ago)
        store.client.hset(store.keys.workers, WORKER.name, msgspec.json.encode(record))
    assert [] == store.registry.workers()
