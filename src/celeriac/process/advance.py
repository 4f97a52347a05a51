"""Advance an instance by one event: decide, run the method, return the changes. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from celeriac.contract import read_data
from celeriac.errors import InvalidData, Reject, Retry, Skip
from celeriac.event import RawEvent
from celeriac.flow_control import key_of, stored_key
from celeriac.process.decision import ProcessDecision, Status, Trigger, decide
from celeriac.process.definition import ABORT_REQUESTED, REMINDED, ProcessDefinition, Reaction
from celeriac.process.effects import Effects, EventWriter
from celeriac.process.instance import Instance, StepChanges
from celeriac.process.process import made
from celeriac.unreadable import UNREADABLE


class NotStarted(Retry):
    """No event has started the instance yet. The delivery runs again later."""


class Reminder(msgspec.Struct, frozen=True):
    """The data of `process.reminded`."""

    key: str
    name: str


class AbortRequest(msgspec.Struct, frozen=True):
    """The data of `process.abort_requested`."""

    key: str
    reason: str


def instance_key(event: RawEvent, path: str) -> str:
    """Return the key of the instance that the event belongs to.

    Raises Reject for an event without a key: no retry would find one.
    """
    key = _own_key(event)
    if key is None:
        key = key_of(_members(event, path), path)
    if not key:
        raise Reject(
            f"{event.type} {event.id} has no {path}, which names the instance of the process. Emit "
            "it with one"
        )
    return key


def advance(
    definition: ProcessDefinition,
    handler: str,
    key: str,
    instance: Instance | None,
    event: RawEvent,
    writer: EventWriter,
    now_ms: int,
) -> StepChanges:
    """Return what the event changes.

    Raises Skip for an event that the instance does not handle, NotStarted before its start, and
    what the method raises.
    """
    reaction = None if event.type in _BUILT_IN else definition.reaction_to(event.type)
    trigger = _trigger(event, reaction, instance)
    status = instance.status if instance is not None else None
    decision = decide(status, trigger, definition.missing)
    if decision is ProcessDecision.SKIP:
        raise Skip(f"{handler} {key} is {status or 'not started'}")
    if decision is ProcessDecision.WAIT:
        types = ", ".join(p for r in definition.reactions if r.starts for p in r.patterns)
        raise NotStarted(
            f"{handler} has not started for {key}: it starts with {types}. Emit that event, then "
            "redrive this delivery"
        )
    if decision is ProcessDecision.START:
        instance, state = Instance(handler, key), definition.state.new()
    else:
        assert instance is not None
        state = definition.state.read(instance.state, instance.version, key)
    effects = Effects(definition, instance, event, writer, now_ms)
    if decision is ProcessDecision.ABORT:
        effects.abort(_decoded(event, AbortRequest).reason)
        return effects.changes(state)
    process = made(definition.cls, state, key, effects)
    if reaction is not None:
        reaction.function(process, read_data(event, reaction.data_type))
    else:
        name = _decoded(event, Reminder).name
        effects.expire(name)
        method = definition.reminders.get(name)
        if method is None:
            raise Reject(
                f"{handler} {key}: the timer {name!r} has expired, but no method has "
                f"@reminded({name!r}). Deploy code with one, then redrive"
            )
        method(process)
    return effects.changes(process.state)


_BUILT_IN = frozenset((REMINDED, ABORT_REQUESTED))


def _trigger(event: RawEvent, reaction: Reaction | None, instance: Instance | None) -> Trigger:
    if event.type == ABORT_REQUESTED:
        return Trigger.ABORTS
    if event.type == REMINDED:
        timer = instance and instance.timers.get(_decoded(event, Reminder).name)
        return Trigger.REMINDS if timer and timer.event_id == event.id else Trigger.OUTDATED
    if reaction is None:
        # A pattern of older code.
        return Trigger.OUTDATED
    return Trigger.STARTS if reaction.starts else Trigger.CONTINUES


def _own_key(event: RawEvent) -> str | None:
    if event.type == REMINDED:
        return str(_decoded(event, Reminder).key)
    if event.type == ABORT_REQUESTED:
        return stored_key(_decoded(event, AbortRequest).key)
    return None


def _members(event: RawEvent, path: str) -> dict[str, Any]:
    """Return the members of the event's JSON that the path can name."""
    attribute = path.partition(".")[0]
    if attribute == "data":
        return {"data": _json(event)}
    if attribute == "subject":
        return {"subject": event.subject, "partitionkey": event.partitionkey}
    if hasattr(event, attribute):
        return {attribute: getattr(event, attribute)}
    return dict(event.extensions)


def _json(event: RawEvent) -> Any:
    if not isinstance(event.data, msgspec.Raw):
        return event.data
    try:
        return msgspec.json.decode(event.data)
    except UNREADABLE:
        raise InvalidData(f"{event.type} {event.id}: data is not valid JSON") from None


def _decoded(event: RawEvent, kind: type[Any]) -> Any:
    return read_data(event, kind).data


__all__ = ["AbortRequest", "NotStarted", "Reminder", "Status", "advance", "instance_key"]
