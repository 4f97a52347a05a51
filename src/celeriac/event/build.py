"""Construction of new events for emit."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Never, TypeVar

from celeriac.errors import InvalidEvent
from celeriac.event.attributes import check_text, check_time, check_type
from celeriac.event.correlation import current_event, current_tenant, inherit
from celeriac.event.envelope import Event
from celeriac.event.extensions import NO_EXTENSIONS, Extensions, ExtensionValue
from celeriac.event.identity import new_event_id
from celeriac.event.validation import validate
from celeriac.tenant import NO_TENANT, NoTenant
from celeriac.unknown_argument import OF_CALL, refusal_of

T = TypeVar("T")
BINARY = (bytes, bytearray, memoryview)
# Arguments of emit that are no attributes of the event.
OF_EMIT = ("at", "delay", "encrypt_for", "session", "using")


def build_event(
    type: str,
    data: T,
    *,
    source: str,
    id: str | None = None,
    subject: str | None = None,
    time: datetime | None = None,
    datacontenttype: str | None = None,
    dataschema: str | None = None,
    partitionkey: str | None = None,
    tenant: str | NoTenant | None = None,
    correlationid: str | None = None,
    causationid: str | None = None,
    traceparent: str | None = None,
    sensitive: str | None = None,
    handlers: Sequence[str] = (),
    extensions: Mapping[str, ExtensionValue] | None = None,
    **unknown: Never,
) -> Event[T]:
    """Return a valid new event with `data`, caused by the event being handled, if any.

    The default `id` is a UUIDv7, the default `time` is now; `time` is converted to UTC. The default
    `tenant` is that of the event being handled; NO_TENANT is none.
    Bytes without a `datacontenttype` are `application/octet-stream`.
    Raises InvalidEvent that names the invalid attribute.
    """
    if unknown:
        known = {*inspect.signature(build_event).parameters, *OF_EMIT} - {"unknown"}
        raise InvalidEvent(refusal_of("emit", unknown, known, OF_CALL))
    if datacontenttype is None and isinstance(data, BINARY):
        datacontenttype = "application/octet-stream"
    if current_event() is not None:
        correlationid, causationid, traceparent = inherit(
            correlationid=correlationid, causationid=causationid, traceparent=traceparent
        )
        if tenant is None:
            tenant = current_tenant()
    event = Event(
        id=new_event_id() if id is None else _text(id),
        source=_text(source),
        type=_text(type),
        subject=None if subject is None else _text(subject),
        time=datetime.now(UTC) if time is None else _utc(time),
        datacontenttype=None if datacontenttype is None else _text(datacontenttype),
        dataschema=None if dataschema is None else _text(dataschema),
        correlationid=None if correlationid is None else _text(correlationid),
        causationid=None if causationid is None else _text(causationid),
        partitionkey=None if partitionkey is None else _text(partitionkey),
        tenant=None if tenant is None or tenant is NO_TENANT else _text(tenant),
        traceparent=None if traceparent is None else _text(traceparent),
        sensitive=None if sensitive is None else _text(sensitive),
        data=data,
        handlers=_handlers(handlers) if handlers != () else (),
        extensions=Extensions(extensions) if extensions else NO_EXTENSIONS,
    )
    validate(event)
    return event


def plain_event(
    kind: str, data: T, *, source: str, id: str | None = None, dataschema: str | None = None
) -> Event[T]:
    """Return the event that `build_event` returns for these arguments, at a third of the cost.

    `id` must be a new event id, and `dataschema` that of a contract.
    """
    if (
        type(kind) is not str
        or type(source) is not str
        or isinstance(data, BINARY)
        or current_event() is not None
    ):
        return build_event(kind, data, source=source, id=id, dataschema=dataschema)
    check_text("source", source)
    check_type(kind)
    return Event(
        id=id or new_event_id(),
        source=source,
        type=kind,
        time=datetime.now(UTC),
        dataschema=dataschema,
        data=data,
    )


def _text(value: str) -> str:
    # A member of a str enum is encoded as its value. `validate` refuses other types.
    if type(value) is str:
        return value
    return str.__str__(value) if isinstance(value, str) else value


def _utc(time: datetime) -> datetime:
    check_time(time)
    try:
        return time.astimezone(UTC)
    except OverflowError:
        raise InvalidEvent("`time` is outside the years 1 to 9999 in UTC") from None


def _handlers(handlers: Sequence[str]) -> tuple[str, ...]:
    if isinstance(handlers, str):
        raise InvalidEvent(f"`handlers` must be a list of names, like [{handlers!r}]")
    return tuple(_text(handler) for handler in handlers)
