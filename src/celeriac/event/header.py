"""The attributes that the dispatcher needs, decoded at a third of the cost of an event."""

from __future__ import annotations

from typing import Union

import msgspec

from celeriac.errors import InvalidEvent
from celeriac.event.addressing import effective_recipients, split_handlers
from celeriac.event.attributes import (
    MAX_TEXT,
    check_decoded_type,
    check_domain,
    check_handler,
    check_id,
    check_length,
    check_tenant,
)
from celeriac.event.codec import OtherVersion, decode
from celeriac.event.envelope import RawEvent
from celeriac.event.identity import event_key
from celeriac.unreadable import UNREADABLE


class EventHeader(msgspec.Struct, frozen=True, kw_only=True, tag_field="specversion", tag="1.0"):
    """The addressing of an event. The attributes are those of `Event`, in the order in which they
    are encoded: then msgspec finds them faster."""

    id: str
    source: str
    type: str
    subject: str | None = None
    correlationid: str | None = None
    partitionkey: str | None = None
    tenant: str | None = None
    traceparent: str | None = None
    handler_refs: str | None = msgspec.field(default=None, name="handlers")
    redriven: str | None = None

    @property
    def key(self) -> str:
        """The key of the event in celeriac's records."""
        return event_key(self.id, self.source)

    @property
    def handlers(self) -> tuple[str, ...]:
        """The handlers that the event is for; empty means all subscribed handlers."""
        return effective_recipients(split_handlers(self.handler_refs), self.redriven)


_TEXTS = ("source", "subject", "partitionkey", "correlationid", "traceparent")
_decoder = msgspec.json.Decoder(Union[EventHeader, OtherVersion])  # noqa: UP007


def read_header(raw: bytes, domain: str | None = None) -> EventHeader:
    """Return the addressing of the event in `raw`. Its other attributes are not checked.

    `domain` is the domain of the event log. Raises InvalidEvent, with the same reason as `decode`,
    for bytes that are not a CloudEvent 1.0, and for an event of another domain.
    """
    try:
        header = _decoder.decode(raw)
    except UNREADABLE:
        header = None
    if type(header) is not EventHeader:
        header = _header_of(decode(raw))
    if len(raw) > MAX_TEXT:  # no attribute can be longer than the event
        for name in _TEXTS:
            if (text := getattr(header, name)) is not None:
                check_length(name, text)
    check_id(header.id)
    check_decoded_type(header.type)
    if domain is not None:
        check_domain(header.type, domain)
    if header.tenant is not None:
        check_tenant(header.tenant)
    if header.handler_refs is not None:
        split_handlers(header.handler_refs)
    if header.redriven is not None:
        check_handler(header.redriven)
    return header


def _header_of(event: RawEvent) -> EventHeader:
    """Return the header of an event that only the strict decoder can decode."""
    return EventHeader(
        id=event.id,
        source=event.source,
        type=event.type,
        subject=event.subject,
        correlationid=event.correlationid,
        partitionkey=event.partitionkey,
        tenant=event.tenant,
        traceparent=event.traceparent,
        handler_refs=" ".join(event.handlers) or None,
    )


def key_in(body: bytes | None) -> str:
    """Return the key of the event in `body`; '' if it cannot be read."""
    try:
        return read_header(body).key if body else ""
    except InvalidEvent:
        return ""


def type_in(body: bytes | None) -> str:
    """Return the type of the event in `body`; '' if it cannot be read."""
    try:
        return decode(body).type if body else ""
    except InvalidEvent:
        return ""
