"""The registry in two hashes of Redis or Valkey."""

from __future__ import annotations

import time
from collections.abc import Mapping

import msgspec

from celeriac.connection import Client, service_client
from celeriac.keys import Keys
from celeriac.registry.registry import FORGET_WORKER_AFTER_MS, HandlerRecord, WorkerRecord
from celeriac.settings import Settings


class RedisRegistry:
    """See Registry for the promises."""

    def __init__(self, settings: Settings, client: Client | None = None) -> None:
        self.keys = Keys(settings.namespace)
        self.client: Client = client or service_client(settings)

    def handlers(self) -> Mapping[str, HandlerRecord]:
        stored = self.client.hgetall(self.keys.handlers)
        records = (msgspec.json.decode(value, type=HandlerRecord) for value in stored.values())
        return {record.id: record for record in sorted(records, key=lambda record: record.id)}

    def register(self, record: HandlerRecord) -> None:
        self.client.hset(self.keys.handlers, record.id, msgspec.json.encode(record))
        self.client.srem(self.keys.removed, record.id)

    def unregister(self, handler: str) -> bool:
        self.client.sadd(self.keys.removed, handler)
        return bool(self.client.hdel(self.keys.handlers, handler))

    def was_removed(self, handler: str) -> bool:
        return bool(self.client.sismember(self.keys.removed, handler))

    def workers(self) -> list[WorkerRecord]:
        stored = self.client.hgetall(self.keys.workers)
        records = [msgspec.json.decode(value, type=WorkerRecord) for value in stored.values()]
        now = self.now_ms()
        gone = [r.name for r in records if now - r.beat_ms > FORGET_WORKER_AFTER_MS]
        if gone:
            self.client.hdel(self.keys.workers, *gone)
        return sorted((r for r in records if r.name not in gone), key=lambda r: r.name)

    def beat(self, worker: WorkerRecord) -> None:
        stamped = msgspec.structs.replace(
            worker, beat_ms=self.now_ms(), clock_ms=int(time.time() * 1000)
        )
        self.client.hset(self.keys.workers, worker.name, msgspec.json.encode(stamped))

    def depart(self, name: str) -> None:
        self.client.hdel(self.keys.workers, name)

    def now_ms(self) -> int:
        seconds, micros = self.client.time()
        return int(seconds) * 1000 + int(micros) // 1000
