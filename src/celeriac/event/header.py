"""What the dispatcher needs of an event, at a third of the cost of the whole."""

from __future__ import annotations

from typing import Union

import msgspec

from celeriac.event.addressing import effective_recipients, split_handlers
from celeriac.event.attributes import (
    MAX_TEXT,
    check_domain,
    check_handler,
    check_id,
    check_length,
    check_type,
)
from celeriac.event.codec import OtherVersion, decode
from celeriac.event.envelope import RawEvent
from celeriac.event.identity import event_key


class EventHeader(msgspec.Struct, frozen=True, kw_only=True, tag_field="specversion", tag="1.0"):
    """The addressing of an event. The attributes are those of `Event`."""

    id: str
    source: str
    type: str
    subject: str | None = None
    partitionkey: str | None = None
    correlationid: str | None = None
    traceparent: str | None = None
    handler_refs: str | None = msgspec.field(default=None, name="handlers")
    redriven: str | None = None

    @property
    def key(self) -> str:
        """What celeriac's records know the event by."""
        return event_key(self.id, self.source)

    @property
    def handlers(self) -> tuple[str, ...]:
        """The handlers that the event is for; empty means everyone."""
        return effective_recipients(split_handlers(self.handler_refs), self.redriven)


_TEXTS = ("source", "subject", "partitionkey", "correlationid", "traceparent")
_decoder = msgspec.json.Decoder(Union[EventHeader, OtherVersion])  # noqa: UP007


def read_header(raw: bytes, domain: str | None = None) -> EventHeader:
    """The addressing of the event in `raw`, without its data and without checking the rest.

    `domain` is that of the log which holds the event. Raises InvalidEvent for what is not a
    CloudEvent 1.0, with the reason that `decode` gives, and for an event of another domain.
    """
    try:
        found = _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = None
    if type(found) is not EventHeader:
        found = _of_whole(decode(raw))
    if len(raw) > MAX_TEXT:  # a shorter event has no longer attribute
        for name in _TEXTS:
            if (text := getattr(found, name)) is not None:
                check_length(name, text)
    check_id(found.id)
    check_type(found.type)
    if domain is not None:
        check_domain(found.type, domain)
    if found.handler_refs is not None:
        split_handlers(found.handler_refs)
    if found.redriven is not None:
        check_handler(found.redriven)
    return found


def _of_whole(event: RawEvent) -> EventHeader:
    """For an event that only the thorough reader takes."""
    return EventHeader(
        id=event.id,
        source=event.source,
        type=event.type,
        subject=event.subject,
        partitionkey=event.partitionkey,
        correlationid=event.correlationid,
        traceparent=event.traceparent,
        handler_refs=" ".join(event.handlers) or None,
    )
