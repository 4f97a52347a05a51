"""Attributes of spans. Never the data of an event.

They follow OpenTelemetry's semantic conventions for messaging (1.3x, in development there) and for
CloudEvents.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from celeriac.event import Event, EventHeader

Attributes = dict[str, str | int]

SYSTEM = "celeriac"


def of_send(event: Event[Any]) -> Attributes:
    return {**_operation("send", "send"), **_of_event(event)}


def of_send_many(types: Sequence[str], count: int) -> Attributes:
    return {**_operation("send", "send"), **_destination(types), **_count(count)}


def of_dispatch(handler: str, events: Sequence[EventHeader]) -> Attributes:
    types = sorted({event.type for event in events})
    attributes = {
        **_operation("dispatch", "receive"),
        **_destination(types),
        "messaging.consumer.group.name": handler,
    }
    if len(events) == 1:
        return attributes | {"messaging.message.id": events[0].id}
    return attributes | _count(len(events))


def of_process(
    handler: str, worker: str, events: Sequence[Event[Any]], attempt: int, *, batch: bool
) -> Attributes:
    attributes = {
        **_operation("process", "process"),
        "messaging.consumer.group.name": handler,
        "messaging.client.id": worker,
        "celeriac.attempt": attempt,
    }
    if not batch:
        return attributes | _of_event(events[0])
    return attributes | _destination(sorted({e.type for e in events})) | _count(len(events))


def destination(types: Sequence[str]) -> str:
    """Return the name in a span's name: the type, or the domain that several types share."""
    domains = {type.partition(".")[0] for type in types}
    return types[0] if len(types) == 1 else domains.pop() if len(domains) == 1 else ""


def _operation(name: str, kind: str) -> Attributes:
    return {
        "messaging.system": SYSTEM,
        "messaging.operation.name": name,
        "messaging.operation.type": kind,
    }


def _of_event(event: Event[Any]) -> Attributes:
    attributes: Attributes = {
        "messaging.destination.name": event.type,
        "messaging.message.id": event.id,
        "messaging.message.conversation_id": event.correlationid or event.id,
        "cloudevents.event_source": event.source,
    }
    if event.subject is not None:
        attributes["cloudevents.event_subject"] = event.subject
    return attributes


def _destination(types: Sequence[str]) -> Attributes:
    name = destination(types)
    return {"messaging.destination.name": name} if name else {}


def _count(count: int) -> Attributes:
    return {"messaging.batch.message_count": count}
