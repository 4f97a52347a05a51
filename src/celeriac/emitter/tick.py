"""Emitting the event of a schedule's tick, through the middleware of the bus."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from celeriac.emitter.emitter import Emitter
from celeriac.errors import ConfigurationError
from celeriac.event import Event
from celeriac.schedule import DeclaredSchedule, Schedule
from celeriac.schedule.store import Append

# The schedule decides on these.
_DERIVED = frozenset({"id", "time", "delay", "at", "session", "using"})


def declare_schedule(
    emitter: Emitter, schedule: Schedule, data: Any, attributes: Mapping[str, Any]
) -> DeclaredSchedule:
    """Return the schedule with what it emits. Raises InvalidEvent, InvalidData."""
    if refused := sorted(_DERIVED & attributes.keys()):
        raise ConfigurationError(
            f"bus.schedule for {schedule.name!r}: {', '.join(refused)} cannot be given. The id and "
            "the time of an event are those of its tick"
        )
    given = {name: value for name, value in attributes.items() if value not in (None, ())}
    emitter.encode(_event(emitter, schedule, data, given, 0))
    return DeclaredSchedule(schedule, partial(_emit, emitter, schedule, data, given))


def _event(
    emitter: Emitter, schedule: Schedule, data: Any, given: Mapping[str, Any], tick_ms: int
) -> Event[Any]:
    at = datetime.fromtimestamp(tick_ms / 1000, UTC)
    return emitter.build(schedule.type, data, id=schedule.event_id(tick_ms), time=at, **given)


def _emit(
    emitter: Emitter,
    schedule: Schedule,
    data: Any,
    given: Mapping[str, Any],
    tick_ms: int,
    append: Append,
) -> bool:
    event = _event(emitter, schedule, data, given, tick_ms)
    kind, _ = emitter.kind_of_id(event.id)
    hooks = emitter.hooks
    if hooks is None:
        return append(emitter.encode(event), kind)
    with hooks.around(event) as through:
        event = through(event)
        try:
            is_appended = append(emitter.encode(event), kind)
        except Exception as error:
            hooks.failed((event,), error)
            raise
        # Of all workers whose middleware sees the event, only one appends it.
        if is_appended:
            hooks.appended((event,))
        return is_appended
