"""Records as they lie in Redis."""

from __future__ import annotations

import msgspec

from celeriac.registry import HandlerRecord
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
