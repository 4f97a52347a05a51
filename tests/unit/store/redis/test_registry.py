"""Records as they lie in Redis."""

from __future__ import annotations

import time

import msgspec
import pytest

from celeriac.invalid_record import MAX_TIME_MS
from celeriac.registry import HandlerRecord, WorkerRecord
from celeriac.registry.registry import FORGET_WORKER_AFTER_MS
from celeriac.registry.scale_target import FORGET_TARGET_AFTER_MS, ScaleTargetRecord
from celeriac.settings import Settings
from celeriac.store.redis.registry import RedisRegistry


def test_a_record_of_a_newer_version_is_read_for_what_is_known_of_it(settings: Settings) -> None:
    registry = RedisRegistry(settings)
    record = HandlerRecord(id="b.c", service="b", patterns=("order.#",), queue="b")
    newer = msgspec.to_builtins(record) | {"colour": "green"}
    registry.client.hset(registry.keys.handlers, "b.c", msgspec.json.encode(newer))
    assert {"b.c": record} == registry.handlers()


def test_the_time_is_the_server_s(settings: Settings) -> None:
    registry = RedisRegistry(settings)
    seconds, _ = registry.client.time()
    assert abs(seconds * 1000 - registry.now_ms()) < 2000


def worker(registry: RedisRegistry, name: str, age_ms: int) -> None:
    record = WorkerRecord(
        name=name, service="b", hostname="h", pid=1, pool="prefork", processes=1, queues=("b",),
        version="1", beat_ms=registry.now_ms() - age_ms,
    )  # fmt: skip
    registry.client.hset(registry.keys.workers, name, msgspec.json.encode(record))


def test_workers_without_a_heartbeat_are_removed(settings: Settings) -> None:
    registry = RedisRegistry(settings)
    worker(registry, "here", 0)
    assert ["here"] == [record.name for record in registry.workers()]
    worker(registry, "gone", FORGET_WORKER_AFTER_MS + 1000)
    assert ["here"] == [record.name for record in registry.workers()]
    assert [b"here"] == registry.client.hkeys(registry.keys.workers)
    registry.depart("here")
    assert [] == registry.client.hkeys(registry.keys.workers)


def test_old_answers_to_autoscalers_are_removed(settings: Settings) -> None:
    registry = RedisRegistry(settings)
    now = registry.now_ms()
    for service, age_ms in (("here", 0), ("gone", FORGET_TARGET_AFTER_MS + 1000)):
        assert {"here"} >= set(registry.scale_targets())
        registry.note_scale_target(
            ScaleTargetRecord(service=service, cooldown=1.0, workers=1, requested_ms=now - age_ms)
        )
    assert {"here"} == set(registry.scale_targets())
    assert [b"here"] == registry.client.hkeys(registry.keys.scale_targets)


def test_a_heartbeat_has_the_times_of_both_clocks(settings: Settings) -> None:
    registry = RedisRegistry(settings)
    before = int(time.time() * 1000)
    worker(registry, "w1", 5000)
    [record] = registry.workers()
    registry.heartbeat(record)
    [record] = registry.workers()
    assert before <= record.clock_ms <= int(time.time() * 1000)
    assert abs(registry.now_ms() - record.beat_ms) < 60_000


def test_what_registers_only_some_handlers(settings: Settings) -> None:
    """A record that cannot be read counts as none; a removed handler as neither."""
    registry = RedisRegistry(settings)
    record = HandlerRecord(id="b.c", service="b", patterns=("order.#",), queue="b")
    registry.register(record)
    registry.client.hset(registry.keys.handlers, "b.broken", b"{")
    registry.register(HandlerRecord(id="b.gone", service="b", patterns=("order.#",), queue="b"))
    assert registry.unregister("b.gone") is True
    names = ["b.c", "b.broken", "b.gone", "b.new"]
    assert {"b.c": record} == registry.registered(names)
    assert ["b.broken", "b.new"] == registry.unregistered(names)
    assert ({}, []) == (registry.registered([]), registry.unregistered([]))
    assert [False, True] == [registry.was_removed(name) for name in ("b.c", "b.gone")]
    assert [True, False] == [registry.unregister("b.c") for _ in range(2)]
    assert registry.unregister("b.other") is False
    assert {} == registry.handlers()


@pytest.mark.parametrize("field", ["requested_ms", "unmet_since_ms"])
@pytest.mark.parametrize("ms", [-1, MAX_TIME_MS + 1])
def test_an_impossible_time_of_an_answer_to_an_autoscaler_is_reported(
    settings: Settings, field: str, ms: int
) -> None:
    registry = RedisRegistry(settings)
    record = ScaleTargetRecord(service="b", cooldown=1.0, workers=1, requested_ms=registry.now_ms())
    registry.note_scale_target(msgspec.structs.replace(record, **{field: ms}))
    assert {} == registry.scale_targets()
    assert [f"`{field}`"] == [record.fault.split()[0] for record in registry.invalid]
