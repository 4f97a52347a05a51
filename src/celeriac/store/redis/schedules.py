"""The schedules of each domain in one hash of Redis or Valkey."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from celeriac.bus_settings import BusSettings
from celeriac.event import read_header
from celeriac.event_log import EntryKind
from celeriac.invalid_record import InvalidRecords
from celeriac.schedule import Schedule, StoredSchedule, Ticked
from celeriac.schedule.store import decode_state, stored_field
from celeriac.settings import Settings
from celeriac.store.redis.connection import Client
from celeriac.store.redis.keys import Keys
from celeriac.store.redis.script import Script
from celeriac.store.redis.server_clock import ServerClock

_declare, _tick = Script("declare_schedule.lua"), Script("tick.lua")
# Seconds after which the server is asked for its time again, since its clock may be set.
ASK_TIME_EVERY = 10.0


class RedisSchedules:
    """See ScheduleStore for the guarantees."""

    def __init__(
        self, settings: Settings, client: Client, invalid: InvalidRecords, bus: BusSettings
    ) -> None:
        self.keys = Keys(settings.namespace)
        self.client = client
        self.invalid = invalid
        self.bus = bus
        self._clock = ServerClock(client)
        self._asked_at = time.monotonic()

    def now_ms(self) -> int:
        now = time.monotonic()
        if now - self._asked_at >= ASK_TIME_EVERY:
            self._asked_at = now
            self._clock.forget()
        return self._clock.now_ms()

    def declare(self, schedule: Schedule, next_ms: int) -> Ticked:
        keys = _declare.keys(self.keys, schedule.domain)
        record, now = _declare.on_keys(
            self.client, keys, _field(schedule), schedule.definition, next_ms
        )
        return self._ticked(schedule, record, now)

    def read(self, schedule: Schedule) -> Ticked:
        key = self.keys.schedules(schedule.domain)
        return _as_ticked(schedule, self.client.hget(key, _field(schedule)) or b"")

    def tick(
        self,
        schedule: Schedule,
        *,
        expected_ms: int,
        next_ms: int,
        tick_ms: int | None = None,
        body: bytes = b"",
        kind: EntryKind = EntryKind.GIVEN,
        dropped: int = 0,
    ) -> Ticked:
        arguments: list[Any] = [_field(schedule), schedule.definition, expected_ms, next_ms]
        arguments += [int(self.bus.current.dedup_window * 1000), dropped]
        if tick_ms is not None:
            is_given = kind is EntryKind.GIVEN
            arguments += [tick_ms, body, read_header(body).key if is_given else ""]
        keys = _tick.keys(self.keys, schedule.domain)
        record, appended, now = _tick.on_keys(self.client, keys, *arguments)
        return self._ticked(schedule, record, now, is_fired=bool(appended))

    def _ticked(
        self, schedule: Schedule, record: bytes, now_ms: int, *, is_fired: bool = False
    ) -> Ticked:
        self._asked_at = time.monotonic()
        self._clock.note(now_ms)
        return _as_ticked(schedule, record)._replace(is_fired=is_fired)

    def all(self, domains: Iterable[str]) -> list[StoredSchedule]:
        keys = [self.keys.schedules(domain) for domain in domains]
        pipeline = self.client.pipeline(transaction=False)
        for key in keys:
            pipeline.hgetall(key)
        answers = pipeline.execute(raise_on_error=False) if keys else []
        schedules: list[StoredSchedule] = []
        for key, answer in zip(keys, answers, strict=True):
            stored: Mapping[bytes, bytes] = self.invalid.answer(key, answer, {})
            schedules += self.invalid.decode_all(key, stored, decode_state).values()
        return sorted(schedules, key=lambda schedule: (schedule.service, schedule.name))

    def remove(self, schedule: StoredSchedule) -> bool:
        field = stored_field(schedule.service, schedule.name)
        return bool(self.client.hdel(self.keys.schedules(schedule.domain), field))


def _field(schedule: Schedule) -> str:
    return stored_field(schedule.service, schedule.name)


def _as_ticked(schedule: Schedule, record: bytes) -> Ticked:
    if not record:
        return Ticked(None, is_own=False)
    is_own = record.partition(b"\n")[2] == schedule.definition
    try:
        return Ticked(decode_state(_field(schedule), record), is_own)
    except (ValueError, msgspec.MsgspecError):
        # Declaring it replaces what cannot be read.
        return Ticked(None, is_own=False)
