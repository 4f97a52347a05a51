"""The event: a CloudEvents 1.0 envelope around data of any type."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeAlias, cast

import msgspec

from celeriac.event.extensions import NO_EXTENSIONS, Extensions

if TYPE_CHECKING:
    # Type checkers have it without the package: a bare `Event` is an `Event[Any]` (PEP 696).
    from typing_extensions import TypeVar

    T = TypeVar("T", default=Any)
    HandlerRefs: TypeAlias = tuple[str, ...]
else:
    from typing import TypeVar

    T = TypeVar("T")

    class HandlerRefs:
        """The decoded type of `handlers`, which is a string in JSON.

        No JSON decodes to it: msgspec refuses an event with handlers, and the strict decoder
        decodes it instead.
        """


U = TypeVar("U")


class Event(
    msgspec.Struct,
    Generic[T],
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    forbid_unknown_fields=True,
    tag_field="specversion",
    tag="1.0",
):
    """One immutable event. `Event[OrderPlaced]` declares the type of `data`.

    Handlers receive valid events. The constructor checks nothing; `EventBus.event` returns a valid
    event.

    Attributes:
        id: Identifies the event together with `source`.
        source: The producer: its service by default.
        type: What happened, such as `order.placed`.
        subject: What it is about, such as `order/42`.
        time: When it happened, in UTC.
        data: The payload, as the handler's annotation declares it.
        datacontenttype: Media type of the data. None means JSON.
        dataschema: URI of the data's schema.
        correlationid: Id of the first event of the chain that led to this one.
        causationid: Id of the event whose handler emitted this one.
        partitionkey: Groups events where `subject` is missing.
        tenant: The tenant that it belongs to.
        traceparent: W3C trace context.
        sensitive: Paths of the data that are masked, with commas between them.
        keyid: Id of the signing key. Verified only for handlers that require a signature.
        signature: The signature. Verified only for handlers that require one.
        handlers: Ids of the handlers it is addressed to. Empty means all that match.
        extensions: Further CloudEvents attributes.
    """

    id: str
    source: str
    type: str
    subject: str | None = None
    time: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    datacontenttype: str | None = None
    dataschema: str | None = None
    correlationid: str | None = None
    causationid: str | None = None
    partitionkey: str | None = None
    tenant: str | None = None
    traceparent: str | None = None
    sensitive: str | None = None
    keyid: str | None = None
    signature: str | None = None
    data: T = cast("T", None)
    handlers: HandlerRefs = ()
    extensions: Extensions = NO_EXTENSIONS

    @property
    def domain(self) -> str:
        """Return the first segment of the type: the stream that holds the event."""
        return self.type.partition(".")[0]

    def with_data(self, data: U) -> Event[U]:
        """Return the same event with other data."""
        return cast("Event[U]", msgspec.structs.replace(self, data=data))

    def __repr__(self) -> str:
        # Without the data, which may be private: a repr appears in logs.
        subject = "" if self.subject is None else f", subject={self.subject!r}"
        return f"Event({self.type!r}, id={self.id!r}{subject})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        # The method of Struct would show the data.
        shown = [("type", self.type), ("id", self.id)]
        return shown if self.subject is None else [*shown, ("subject", self.subject)]


RawEvent: TypeAlias = Event[msgspec.Raw | bytes | None]
"""A decoded event whose data is undecoded JSON, bytes (`data_base64`), or None (no data)."""
