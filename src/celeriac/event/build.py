"""New events, for emit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeVar

from celeriac.errors import InvalidEvent
from celeriac.event.attributes import check_time
from celeriac.event.correlation import inherit
from celeriac.event.envelope import Event
from celeriac.event.extensions import NO_EXTENSIONS, Extensions, ExtensionValue
from celeriac.event.identity import new_event_id
from celeriac.event.validation import validate

T = TypeVar("T")


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
    correlationid: str | None = None,
    causationid: str | None = None,
    traceparent: str | None = None,
    sensitive: str | None = None,
    handlers: Sequence[str] = (),
    extensions: Mapping[str, ExtensionValue] | None = None,
) -> Event[T]:
    """A valid new event around `data`, caused by the event being handled, if any.

    Given no `id` it gets a UUIDv7, given no `time` the present; `time` is turned into UTC.
    Bytes without a `datacontenttype` are `application/octet-stream`.
    Raises InvalidEvent naming the attribute that is wrong.
    """
    if datacontenttype is None and isinstance(data, (bytes, bytearray, memoryview)):
        datacontenttype = "application/octet-stream"
    cause = inherit(correlationid=correlationid, causationid=causationid, traceparent=traceparent)
    event = Event(
        id=new_event_id() if id is None else _text(id),
        source=_text(source),
        type=_text(type),
        subject=_optional(subject),
        time=_utc(time),
        datacontenttype=_optional(datacontenttype),
        dataschema=_optional(dataschema),
        correlationid=_optional(cause.correlationid),
        causationid=_optional(cause.causationid),
        partitionkey=_optional(partitionkey),
        traceparent=_optional(cause.traceparent),
        sensitive=_optional(sensitive),
        data=data,
        handlers=_handlers(handlers),
        extensions=Extensions(extensions) if extensions else NO_EXTENSIONS,
    )
    validate(event)
    return event


def _text(value: str) -> str:
    # a member of a str enum goes out as its value; what is no str at all, `validate` refuses
    return str.__str__(value) if isinstance(value, str) else value


def _optional(value: str | None) -> str | None:
    return None if value is None else _text(value)


def _utc(time: datetime | None) -> datetime:
    if time is None:
        return datetime.now(UTC)
    check_time(time)
    try:
        return time.astimezone(UTC)
    except OverflowError:
        raise InvalidEvent("`time` lies outside the years 1 to 9999 in UTC") from None


def _handlers(handlers: Sequence[str]) -> tuple[str, ...]:
    if isinstance(handlers, str):
        raise InvalidEvent(f"`handlers` must be a list of names, like [{handlers!r}]")
    return tuple(_text(handler) for handler in handlers)
