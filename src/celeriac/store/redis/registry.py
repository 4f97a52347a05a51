"""The registry in two hashes of Redis or Valkey."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from celeriac.invalid_record import InvalidRecords, check_time
from celeriac.registry.registry import HandlerRecord, WorkerRecord, is_gone
from celeriac.registry.scale_target import FORGET_TARGET_AFTER_MS, ScaleTargetRecord
from celeriac.settings import Settings
from celeriac.store.redis.connection import Client, server_time_ms, service_client
from celeriac.store.redis.keys import Keys
from celeriac.store.redis.registry_record import decode_handler, decode_worker
from celeriac.store.redis.script import Script

# Replaces the record of a handler that an operator removed. It is in the same hash, so that one
# script can compare and write: two keys may be on two nodes of a cluster.
REMOVED = b"removed"
_update = Script("update.lua")


class RedisRegistry:
    """Implements Registry."""

    def __init__(
        self,
        settings: Settings,
        client: Client | None = None,
        invalid: InvalidRecords | None = None,
    ) -> None:
        self.keys = Keys(settings.namespace)
        self.client: Client = client or service_client(settings)
        self.invalid = InvalidRecords() if invalid is None else invalid

    def handlers(self) -> Mapping[str, HandlerRecord]:
        fields = self._read(self.keys.handlers)
        stored = {name: value for name, value in fields.items() if value != REMOVED}
        return self.invalid.decode_all(self.keys.handlers, stored, decode_handler)

    def register(self, record: HandlerRecord) -> None:
        self._call(self.keys.handlers, "HSET", record.id, msgspec.json.encode(record))

    def update(self, record: HandlerRecord) -> bool:
        key = self.keys.handlers
        written = self.invalid.unless_wrong_type(
            key,
            lambda: _update.on_keys(
                self.client, (key,), record.id, msgspec.json.encode(record), REMOVED
            ),
            1,  # no operator can have removed it
        )
        return bool(written)

    def unregister(self, handler: str) -> bool:
        before = self._call(self.keys.handlers, "HGET", handler)
        self._call(self.keys.handlers, "HSET", handler, REMOVED)
        return before not in (None, REMOVED)

    def was_removed(self, handler: str) -> bool:
        return bool(self._call(self.keys.handlers, "HGET", handler) == REMOVED)

    def registered(self, handlers: Collection[str]) -> Mapping[str, HandlerRecord]:
        names = list(handlers)
        stored = (self._call(self.keys.handlers, "HMGET", *names) if names else None) or []
        records = {name: _readable(name, value) for name, value in zip(names, stored, strict=False)}
        return {name: record for name, record in records.items() if record is not None}

    def unregistered(self, handlers: Collection[str]) -> list[str]:
        names = list(handlers)
        if not names:
            return []
        stored = self._call(self.keys.handlers, "HMGET", *names)
        if stored is None:  # the key has another type: nothing can be registered
            return []
        return [
            name
            for name, value in zip(names, stored, strict=True)
            if value != REMOVED and _readable(name, value) is None
        ]

    def workers(self) -> list[WorkerRecord]:
        stored, now = self._read(self.keys.workers), self.now_ms()
        records = self.invalid.decode_all(
            self.keys.workers, stored, lambda name, value: decode_worker(name, value, now)
        )
        gone = [n for n, r in records.items() if is_gone(r.beat_ms, now)]
        if gone:
            self.client.hdel(self.keys.workers, *gone)
        return [record for name, record in records.items() if name not in gone]

    def heartbeat(self, worker: WorkerRecord) -> None:
        stamped = msgspec.structs.replace(
            worker, beat_ms=self.now_ms(), clock_ms=int(time.time() * 1000)
        )
        self._call(self.keys.workers, "HSET", worker.name, msgspec.json.encode(stamped))

    def depart(self, name: str) -> None:
        self._call(self.keys.workers, "HDEL", name)

    def scale_targets(self) -> Mapping[str, ScaleTargetRecord]:
        key, oldest = self.keys.scale_targets, self.now_ms() - FORGET_TARGET_AFTER_MS
        records = self.invalid.decode_all(key, self._read(key), _scale_target)
        gone = [name for name, record in records.items() if record.requested_ms < oldest]
        if gone:
            self.client.hdel(key, *gone)
        return {name: record for name, record in records.items() if name not in gone}

    def note_scale_target(self, record: ScaleTargetRecord) -> None:
        self._call(self.keys.scale_targets, "HSET", record.name, msgspec.json.encode(record))

    def now_ms(self) -> int:
        return server_time_ms(self.client)

    def _read(self, key: str) -> dict[bytes, bytes]:
        stored: dict[bytes, bytes]
        stored = self.invalid.unless_wrong_type(key, lambda: self.client.hgetall(key), {})
        return stored

    def _call(self, key: str, command: str, *args: Any) -> Any:
        """Return the reply; None if the key has another type, which is reported."""
        return self.invalid.unless_wrong_type(
            key, lambda: self.client.execute_command(command, key, *args), None
        )


def _scale_target(name: str, value: bytes) -> ScaleTargetRecord:
    record = msgspec.json.decode(value, type=ScaleTargetRecord)
    check_time("requested_ms", record.requested_ms)
    check_time("unmet_since_ms", record.unmet_since_ms)
    return record


def _readable(name: str, value: bytes | None) -> HandlerRecord | None:
    if value is None:
        return None
    try:
        return decode_handler(name, value)
    except (ValueError, msgspec.MsgspecError, RecursionError):
        return None
