"""The records of one instance, and what one event changes in them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from celeriac.event import Event
from celeriac.process.decision import Status


class Timer(NamedTuple):
    """A timer that is set. Its event has `event_id`; an event with another id is outdated."""

    event_id: str
    at_ms: int


@dataclass(slots=True)
class Instance:
    """One instance of a process: `handler` and `key` identify it.

    `state` is JSON, in the version `version` of its contract; empty before the first event. `seq`
    counts the events that it handled. `undo` has the encoded undo events, oldest first. An ended
    instance is deleted after `expires_ms`.
    """

    handler: str
    key: str
    status: Status = Status.OPEN
    state: bytes = b""
    version: int = 1
    seq: int = 0
    timers: dict[str, Timer] = field(default_factory=dict)
    undo: list[str] = field(default_factory=list)
    reason: str = ""
    sensitive: str = ""
    started_ms: int = 0
    updated_ms: int = 0
    expires_ms: int | None = None

    def has_expired(self, now_ms: int) -> bool:
        """Return whether it has ended and its time is over: its key may start again."""
        return self.expires_ms is not None and self.expires_ms <= now_ms


class ProcessStep(msgspec.Struct, frozen=True, kw_only=True):
    """The record of one handled event: what it changed, for the history of the instance.

    `emitted` has (type, id), `reminders` (timer, due time in ms), `forgotten` timers.
    """

    seq: int
    at_ms: int
    event_id: str
    event_type: str
    status: Status
    emitted: tuple[tuple[str, str], ...] = ()
    reminders: tuple[tuple[str, int], ...] = ()
    forgotten: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class TimerRecord:
    """A timer to store, with the event that its expiry emits, encoded."""

    name: str
    event_id: str
    at_ms: int
    domain: str
    body: bytes


@dataclass(frozen=True, slots=True)
class OutgoingEvent:
    """An event to emit. `delay` and `at` are those of EventBus.emit."""

    event: Event[Any]
    delay: float | timedelta | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class StepChanges:
    """What one event changes. Stored and emitted in one transaction."""

    instance: Instance
    step: ProcessStep
    emits: tuple[OutgoingEvent, ...] = ()
    set_timers: tuple[TimerRecord, ...] = ()
    removed_timers: tuple[str, ...] = ()
