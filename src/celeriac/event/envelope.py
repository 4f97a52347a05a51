"""The event: a CloudEvents 1.0 envelope around data of any type."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeAlias, cast

import msgspec

from celeriac.event.extensions import NO_EXTENSIONS, Extensions

if TYPE_CHECKING:
    # checkers know it without the package: a bare `Event` is an `Event[Any]` (PEP 696)
    from typing_extensions import TypeVar

    T = TypeVar("T", default=Any)
    HandlerRefs: TypeAlias = tuple[str, ...]
else:
    from typing import TypeVar

    T = TypeVar("T")

    class HandlerRefs:
        """Stands in for `tuple[str, ...]`, since the wire has a string instead.

        No JSON decodes to it: msgspec refuses an event with handlers and the thorough reader
        takes it.
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
    """One event. Immutable; `Event[OrderPlaced]` says what `data` is.

    The constructor checks nothing: `build_event` and `decode` return valid events only,
    and `encode` refuses an invalid one. `time` is in UTC. `handlers` names those the event
    is for, as `service.function`; empty means everyone who subscribed. `sensitive` names the parts
    of the data that people must not see (see event/sensitive.py). `keyid` and `signature` are as
    they came: only for a handler that demands a signature were they verified.
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
        """The first segment of the type: the log that holds the event."""
        return self.type.partition(".")[0]

    def with_data(self, data: U) -> Event[U]:
        """The same event around other data."""
        return cast("Event[U]", msgspec.structs.replace(self, data=data))

    def __repr__(self) -> str:
        # never the data: it may be private, and a repr ends up in logs
        subject = "" if self.subject is None else f", subject={self.subject!r}"
        return f"Event({self.type!r}, id={self.id!r}{subject})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        # the one of Struct would show the data as well
        shown = [("type", self.type), ("id", self.id)]
        return shown if self.subject is None else [*shown, ("subject", self.subject)]


RawEvent: TypeAlias = Event[msgspec.Raw | bytes | None]
"""An event off the wire: data is JSON not yet decoded, bytes (`data_base64`), or None (no data)."""
