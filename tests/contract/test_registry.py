"""The promises of Registry."""

from __future__ import annotations

import json

import msgspec
import pytest

from celeriac.flow_control import ORDERED
from celeriac.invalid_record import MAX_KEPT
from celeriac.registry import HandlerRecord, ScaleTargetRecord, WorkerRecord
from tests.contract.store import HOUR_MS, MemoryStore, RedisStore, Store

CHARGE = HandlerRecord(
    id="billing.charge",
    service="billing",
    patterns=("order.placed",),
    queue="billing",
    flow_control=ORDERED,
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


def test_a_registered_handler_is_read_with_all_its_options(store: Store) -> None:
    assert {} == store.registry.handlers()
    store.registry.register(CHARGE)
    assert {CHARGE.id: CHARGE} == store.registry.handlers()


def test_handlers_come_in_the_order_of_their_ids(store: Store) -> None:
    for name in ("b.b", "a.a", "c.c"):
        service = name.partition(".")[0]
        store.registry.register(msgspec.structs.replace(CHARGE, id=name, service=service))
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


def test_a_handler_that_was_removed_is_not_updated(store: Store) -> None:
    changed = msgspec.structs.replace(CHARGE, patterns=("order.#",))
    assert store.registry.update(CHARGE)  # where the whole registry was lost
    assert store.registry.update(changed)
    assert {CHARGE.id: changed} == store.registry.handlers()
    store.registry.unregister(CHARGE.id)
    assert not store.registry.update(CHARGE)
    assert {} == store.registry.handlers() == store.registry.registered([CHARGE.id])
    assert [] == store.registry.unregistered([CHARGE.id])
    assert [] == list(getattr(store, "invalid", []))


def test_a_beat_is_stamped_with_the_time_of_the_store(store: Store) -> None:
    before = store.registry.now_ms()
    store.registry.heartbeat(WORKER)
    [found] = store.registry.workers()
    assert before <= found.beat_ms <= store.registry.now_ms()
    assert found.clock_ms > 0
    assert WORKER == msgspec.structs.replace(found, beat_ms=0, clock_ms=0)


def test_a_worker_that_departed_is_gone(store: Store) -> None:
    store.registry.heartbeat(WORKER)
    store.registry.heartbeat(msgspec.structs.replace(WORKER, name="a@host"))
    assert ["a@host", WORKER.name] == [w.name for w in store.registry.workers()]
    store.registry.depart(WORKER.name)
    store.registry.depart(WORKER.name)
    assert ["a@host"] == [w.name for w in store.registry.workers()]


def test_a_worker_silent_for_an_hour_is_forgotten(store: Store) -> None:
    store.registry.heartbeat(WORKER)
    if isinstance(store, MemoryStore):
        store.clock.advance(HOUR_MS + 1)
    else:
        assert isinstance(store, RedisStore)
        long_ago = store.registry.now_ms() - HOUR_MS - 1000
        record = msgspec.structs.replace(WORKER, beat_ms=long_ago)
        store.client.hset(store.keys.workers, WORKER.name, msgspec.json.encode(record))
    assert [] == store.registry.workers()


def test_a_handler_without_a_readable_record_is_unregistered(store: Store) -> None:
    store.registry.register(CHARGE)
    names = [CHARGE.id, "billing.new", "billing.gone"]
    store.registry.unregister("billing.gone")
    assert ["billing.new"] == store.registry.unregistered(names)
    assert [] == store.registry.unregistered([])
    if isinstance(store, RedisStore):
        store.client.hset(store.keys.handlers, CHARGE.id, "{")
        assert [CHARGE.id, "billing.new"] == store.registry.unregistered(names)


INVALID_HANDLERS = {
    "no UTF-8": b"\xff\xfe",
    "no JSON": b"{",
    "no object": b"[1]",
    "deep": b"[" * 100_000,
    "huge": b'{"id": "%s"}' % (b"x" * 2_000_000),
    "nothing": b"",
    "fields missing": b'{"id": "billing.charge"}',
    "a field of another type": msgspec.json.encode(CHARGE).replace(b'"billing"', b"7"),
    "of another handler": msgspec.json.encode(msgspec.structs.replace(CHARGE, id="billing.x")),
    "no name of a handler": msgspec.json.encode(msgspec.structs.replace(CHARGE, id="+@all ~*")),
    "no pattern": msgspec.json.encode(msgspec.structs.replace(CHARGE, patterns=())),
    "a bad pattern": msgspec.json.encode(msgspec.structs.replace(CHARGE, patterns=("a b",))),
    "no entry": msgspec.json.encode(msgspec.structs.replace(CHARGE, since={"order": "x"})),
    "no domain": msgspec.json.encode(msgspec.structs.replace(CHARGE, since={"a b": "0-0"})),
    "no time": msgspec.json.encode(msgspec.structs.replace(CHARGE, registered_ms=10**18)),
    "control characters": msgspec.json.encode(msgspec.structs.replace(CHARGE, queue="a\x1b[2J")),
}


@pytest.mark.parametrize("fault", INVALID_HANDLERS)
def test_an_invalid_handler_is_skipped_and_reported_and_the_others_are_read(
    store: Store, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    if not isinstance(store, RedisStore):
        return  # memory keeps objects
    good = msgspec.structs.replace(CHARGE, id="billing.good")
    store.registry.register(good)
    name = "+@all ~*" if fault == "no name of a handler" else CHARGE.id
    store.client.hset(store.keys.handlers, name, INVALID_HANDLERS[fault])
    for _ in range(2):
        assert {good.id: good} == store.registry.handlers()
    [invalid] = store.invalid
    assert (store.keys.handlers, name) == (invalid.key, invalid.field)
    assert invalid.fault
    reports = [one for one in caplog.records if one.name == "celeriac.invalid_record"]
    assert 1 == len(reports), "once"
    store.client.hdel(store.keys.handlers, name)
    store.registry.handlers()
    assert [] == list(store.invalid)


def test_fields_of_a_newer_version_are_ignored(store: Store) -> None:
    if not isinstance(store, RedisStore):
        return
    for key, record in ((store.keys.handlers, CHARGE), (store.keys.workers, WORKER)):
        newer = {**msgspec.to_builtins(record), "beat_ms": store.registry.now_ms(), "new": [1]}
        name = newer.get("id", newer.get("name"))
        store.client.hset(key, name, msgspec.json.encode(newer))
    assert {CHARGE.id: CHARGE} == store.registry.handlers()
    assert [WORKER.name] == [worker.name for worker in store.registry.workers()]
    assert [] == list(store.invalid)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other@host"}, {"beat_ms": 2**60}, {"beat_ms": -1}, {"clock_ms": 10**17},
        {"processes": -3}, {"processes": 10**12}, {"pid": 2**70}, {"queues": "billing"},
        {"service": "a\n"}, {"beat_ms": 4_000_000_000_000},
    ],
)  # fmt: skip
def test_an_invalid_worker_is_skipped_and_reported(store: Store, change: dict[str, object]) -> None:
    if not isinstance(store, RedisStore):
        return
    store.registry.heartbeat(msgspec.structs.replace(WORKER, name="good@host"))
    record = {**msgspec.to_builtins(WORKER), "beat_ms": store.registry.now_ms(), **change}
    value = json.dumps(record)
    store.client.hset(store.keys.workers, WORKER.name, value)
    assert ["good@host"] == [worker.name for worker in store.registry.workers()]
    assert [WORKER.name] == [one.field for one in store.invalid]


def test_many_invalid_records_are_counted_and_not_all_kept(store: Store) -> None:
    if not isinstance(store, RedisStore):
        return
    store.client.hset(store.keys.handlers, mapping={b"\xff%d" % n: "x" for n in range(500)})
    assert {} == store.registry.handlers()
    kept = list(store.invalid)
    assert MAX_KEPT == len(kept)
    assert {500 - MAX_KEPT} == {one.more for one in kept}


def test_a_registry_of_another_type_reads_as_empty_and_stops_no_worker(store: Store) -> None:
    if not isinstance(store, RedisStore):
        return
    keys = (store.keys.handlers, store.keys.workers)
    for key in keys:
        store.client.set(key, "x")
    assert {} == store.registry.handlers()
    assert [] == store.registry.workers()
    assert not store.registry.was_removed(CHARGE.id)
    store.registry.register(CHARGE)
    assert store.registry.update(CHARGE)
    store.registry.heartbeat(WORKER)
    store.registry.depart(WORKER.name)
    assert not store.registry.unregister(CHARGE.id)
    assert [] == store.registry.unregistered([CHARGE.id])
    assert sorted(keys) == [one.key for one in store.invalid]
    assert all(store.client.get(key) == b"x" for key in keys), "it is left alone"
    for key in keys:
        store.client.delete(key)
    store.registry.register(CHARGE)
    assert {CHARGE.id: CHARGE} == store.registry.handlers()
    assert [] == store.registry.workers()
    assert [] == list(store.invalid)


def test_scale_targets_are_kept_by_service_and_queue_for_a_day(store: Store) -> None:
    registry = store.registry
    now, day = registry.now_ms(), 86_400_000
    asked = ScaleTargetRecord(service="billing", cooldown=300.0, workers=0, requested_ms=now)
    slow = msgspec.structs.replace(asked, queue="slow", workers=2, unmet_since_ms=now - 5)
    old = msgspec.structs.replace(asked, service="mail", requested_ms=now - day - 1000)
    for record in (msgspec.structs.replace(asked, workers=7), asked, slow, old):
        registry.note_scale_target(record)
    assert registry.scale_targets() == {"billing": asked, "billing:slow": slow}
