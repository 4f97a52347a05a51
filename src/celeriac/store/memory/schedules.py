"""The schedules of the bus in memory: the same promises, kept until the process ends."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from celeriac.event_log import EntryKind, EventLog
from celeriac.schedule import Schedule, StoredSchedule, Ticked
from celeriac.schedule.store import stored_field
from celeriac.store.memory.event_log import MemoryEventLog


class MemorySchedules:
    """See ScheduleStore for the guarantees. Thread-safe."""

    def __init__(self, event_log: MemoryEventLog) -> None:
        self._event_log = event_log
        self._lock = event_log.lock

    def now_ms(self) -> int:
        return self._event_log.clock.now_ms()

    def declare(self, schedule: Schedule, next_ms: int) -> Ticked:
        with self._lock:
            schedules = self._event_log.store[schedule.domain].schedules
            before = schedules.get(_field(schedule))
            if before is None or before[0] != schedule.definition:
                stored = msgspec.json.decode(schedule.definition, type=StoredSchedule)
                known = stored if before is None else before[1]
                stored = msgspec.structs.replace(
                    stored,
                    next_ms=next_ms,
                    last_ms=known.last_ms,
                    fired=known.fired,
                    dropped=known.dropped,
                )
                schedules[_field(schedule)] = schedule.definition, stored
            return self.read(schedule)

    def read(self, schedule: Schedule) -> Ticked:
        with self._lock:
            schedules = self._event_log.store[schedule.domain].schedules
            definition, stored = schedules.get(_field(schedule), (b"", None))
            return Ticked(stored, stored is not None and definition == schedule.definition)

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
        with self._lock:
            ticked = self.read(schedule)
            stored, due_ms = ticked.stored, expected_ms if tick_ms is None else tick_ms
            is_expected = stored is not None and stored.next_ms == expected_ms and ticked.is_own
            if stored is None or not is_expected or due_ms > self.now_ms():
                return ticked
            is_fired = tick_ms is not None and self._append(schedule.domain, body, kind)
            stored = msgspec.structs.replace(
                stored,
                next_ms=next_ms,
                last_ms=stored.last_ms if tick_ms is None else tick_ms,
                fired=stored.fired + is_fired,
                dropped=stored.dropped + dropped,
            )
            schedules = self._event_log.store[schedule.domain].schedules
            schedules[_field(schedule)] = schedule.definition, stored
            return Ticked(stored, True, is_fired)

    def _append(self, domain: str, body: bytes, kind: EntryKind) -> bool:
        event_log: EventLog = self._event_log
        before = event_log.length(domain)
        event_log.append(domain, body, kind)
        return event_log.length(domain) > before

    def all(self, domains: Iterable[str]) -> list[StoredSchedule]:
        with self._lock:
            stored = [
                schedule
                for domain in domains
                for _, schedule in self._event_log.store[domain].schedules.values()
            ]
            return sorted(stored, key=lambda schedule: (schedule.service, schedule.name))

    def remove(self, schedule: StoredSchedule) -> bool:
        with self._lock:
            schedules = self._event_log.store[schedule.domain].schedules
            return schedules.pop(stored_field(schedule.service, schedule.name), None) is not None


def _field(schedule: Schedule) -> str:
    return stored_field(schedule.service, schedule.name)
