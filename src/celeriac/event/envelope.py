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
    """An immutable event. `Event[OrderPlaced]` declares the type of `data`.

    The constructor does not validate: `build_event` and `decode` return valid events only, and
    `encode` refuses an invalid event. `time` is in UTC. `handlers` lists the handlers that the
    event is for, as `service.function`; empty means all subscribed handlers. `sensitive` lists the
    paths of data to mask (see event/sensitive.py). `keyid` and `signature` are verified only for
    handlers that require a signature.
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
    traceparent: str | None = None
    sensitive: str | None = None
    keyid: str | None = None
    signature: str | None = None
    data: T = cast("T", None)
    handlers: HandlerRefs = ()
    extensions: Extensions = NO_EXTENSIONS

    @property
    def domain(self) -> str:
        """The first segment of the type, which names the event log."""
        return self.type.partition(".")[0]

    def with_data(self, data: U) -> Event[U]:
        """Return the event with other data."""
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
