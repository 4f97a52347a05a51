"""One instance as operators see it: with a masked state, its timers, undo events and steps."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

import msgspec

from celeriac.errors import InvalidEvent
from celeriac.event import Event, decode, masked
from celeriac.process.decision import Status
from celeriac.process.instance import ProcessStep
from celeriac.process.query import InstanceHistory


class TimerView(msgspec.Struct, frozen=True):
    """A timer that is set."""

    name: str
    at_ms: int


class EmittedView(msgspec.Struct, frozen=True):
    """An event that a step emitted."""

    type: str
    id: str


class StepView(msgspec.Struct, frozen=True, kw_only=True):
    """What one event changed."""

    seq: int
    at_ms: int
    event_type: str
    event_id: str
    status: Status
    emitted: tuple[EmittedView, ...]
    reminders: tuple[TimerView, ...]
    forgotten: tuple[str, ...]


class InstanceView(msgspec.Struct, frozen=True, kw_only=True):
    """An instance with its steps, oldest first. `undo` has the types that `abort` would emit."""

    handler: str
    key: str
    status: Status
    reason: str
    state: Any
    version: int
    started_ms: int
    updated_ms: int
    expires_ms: int | None
    timers: tuple[TimerView, ...]
    undo: tuple[str, ...]
    steps: tuple[StepView, ...]


def view_of(history: InstanceHistory, sensitive: Set[str] = frozenset()) -> InstanceView:
    """Return the view. `sensitive` are names of fields to mask besides the state's own."""
    instance = history.instance
    state = msgspec.Raw(instance.state)
    stored: Event[Any] = Event(
        id=instance.key, source="", type="state", data=state, sensitive=instance.sensitive or None
    )
    return InstanceView(
        handler=instance.handler,
        key=instance.key,
        status=instance.status,
        reason=instance.reason,
        state=masked(stored, sensitive),
        version=instance.version,
        started_ms=instance.started_ms,
        updated_ms=instance.updated_ms,
        expires_ms=instance.expires_ms,
        timers=tuple(TimerView(name, timer.at_ms) for name, timer in instance.timers.items()),
        undo=tuple(_type_of(body) for body in reversed(instance.undo)),
        steps=tuple(_step(step) for step in history.steps),
    )


def _step(step: ProcessStep) -> StepView:
    return StepView(
        seq=step.seq,
        at_ms=step.at_ms,
        event_type=step.event_type,
        event_id=step.event_id,
        status=step.status,
        emitted=tuple(EmittedView(type, id) for type, id in step.emitted),
        reminders=tuple(TimerView(name, at_ms) for name, at_ms in step.reminders),
        forgotten=step.forgotten,
    )


def _type_of(body: str) -> str:
    try:
        return decode(body.encode()).type
    except InvalidEvent:
        return "(invalid event)"
