"""Where the schedules of the bus are stored: each with its last and its next tick."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import msgspec

from celeriac.event_log import EntryKind
from celeriac.invalid_record import check_time
from celeriac.schedule.due import MAX_LATE_MS
from celeriac.schedule.schedule import Missed, Schedule, tick_id


class StoredSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule on the bus.

    `next_ms` is the first tick that was not emitted, `last_ms` the last tick that was, 0 if there
    was none. `fired` counts the emitted ticks, `dropped` the missed ones that were not emitted.
    """

    service: str
    name: str
    type: str
    cron: str = ""
    tz: str = "UTC"
    every_ms: int = 0
    missed: Missed = "last"
    next_ms: int = 0
    last_ms: int = 0
    fired: int = 0
    dropped: int = 0

    @property
    def domain(self) -> str:
        return self.type.partition(".")[0]

    @property
    def last_event_id(self) -> str:
        """The id of the event of the last tick; empty if there was none."""
        return tick_id(self.service, self.name, self.last_ms) if self.last_ms else ""

    @property
    def times(self) -> str:
        """When it ticks, for display."""
        if self.cron:
            return f"{self.cron} {self.tz}"
        return f"every {self.every_ms / 1000:g} s"


class Ticked(NamedTuple):
    """The answer of `tick`.

    `stored` is the schedule as it is now, None if it was removed. `is_own` is true if it has the
    caller's definition, `is_fired` if this call emitted the event.
    """

    stored: StoredSchedule | None
    is_own: bool
    is_fired: bool = False


class ScheduleStore(Protocol):
    """The schedules of the bus. Methods block for a round trip, and raise redis.RedisError."""

    def now_ms(self) -> int:
        """Return an estimate of the server's time. Seldom blocks."""
        ...

    def declare(self, schedule: Schedule, next_ms: int) -> Ticked:
        """Store the schedule if its definition is new; return what is stored.

        A new definition replaces the one before, with the next tick `next_ms`. Idempotent.
        """
        ...

    def read(self, schedule: Schedule) -> Ticked:
        """Return what is stored."""
        ...

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
        """Append the event of the tick and set the next tick, atomically.

        Only if the next tick is `expected_ms`, the definition is that of `schedule`, and the time
        has come by the server's clock; otherwise nothing changes. Without `tick_ms` no event is
        appended. An event of kind GIVEN is appended once. `dropped` is added to the schedule's.
        """
        ...

    def all(self, domains: Iterable[str]) -> list[StoredSchedule]:
        """Return the schedules of the domains, sorted by service and name."""
        ...

    def remove(self, schedule: StoredSchedule) -> bool:
        """Remove the schedule; return whether it was there."""
        ...


Append = Callable[[bytes, EntryKind], bool]


@dataclass(frozen=True, slots=True)
class DeclaredSchedule:
    """A schedule of a service.

    `emit` builds the event of a tick and passes it to a function, which returns whether it appended
    the event. Returns the same.
    """

    schedule: Schedule
    emit: Callable[[int, Append], bool]


def stored_field(service: str, name: str) -> str:
    """Return the name of its record."""
    return f"{service}:{name}"


def encode_state(next_ms: int, last_ms: int, fired: int, dropped: int, definition: bytes) -> bytes:
    """Return the record as declare_schedule.lua and tick.lua write it."""
    return b"%d %d %d %d\n%b" % (next_ms, last_ms, fired, dropped, definition)


def decode_state(field: str, value: bytes) -> StoredSchedule:
    """Return the record. Raises ValueError or msgspec.MsgspecError."""
    state, _, definition = value.partition(b"\n")
    next_ms, last_ms, fired, dropped = map(int, state.split(b" "))
    decoded = msgspec.json.decode(definition, type=StoredSchedule)
    if field != stored_field(decoded.service, decoded.name):
        raise ValueError("is the record of another schedule")
    check_time("next tick", next_ms)
    check_time("last tick", last_ms)
    return msgspec.structs.replace(
        decoded, next_ms=next_ms, last_ms=last_ms, fired=fired, dropped=dropped
    )


def is_overdue(schedule: StoredSchedule, now_ms: int) -> bool:
    """Return whether no running worker emits its ticks: the next one is MAX_LATE_MS late."""
    return now_ms - schedule.next_ms > MAX_LATE_MS
