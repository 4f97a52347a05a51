"""What a webhook is: a verified request of another system, as an event."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec

from celeriac.errors import ConfigurationError, InvalidEvent
from celeriac.event import RawEvent, validate
from celeriac.event.attributes import check_tenant, check_text, type_fault
from celeriac.event.envelope import Event
from celeriac.event.strict_decoder import without_lone_surrogates
from celeriac.unreadable import UNREADABLE

_TYPE = "{type}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """One verified request.

    Attributes:
        id: The sender's id of the message, the same for each repetition.
        type: The type of the event.
        data: The JSON document that was sent.
        subject: What it is about, if known.
        time: When it happened, with a time zone, if known.
        tenant: The tenant that it belongs to, if any.
    """

    id: str
    type: str
    data: bytes
    subject: str | None = None
    time: datetime | None = None
    tenant: str | None = None

    def event(self, source: str) -> RawEvent:
        """Return the event. Raises InvalidEvent for an attribute that is none."""
        if not isinstance(self.data, bytes):
            raise ConfigurationError(
                f"a webhook of {source} has data of the type {type(self.data).__name__}: must be "
                "the JSON document as bytes"
            )
        event: RawEvent = Event(
            id=self.id,
            source=source,
            type=self.type,
            subject=self.subject,
            time=self.time,
            tenant=self.tenant,
            data=msgspec.Raw(without_lone_surrogates(self.data)),
        )
        validate(event)
        return event


@dataclass(frozen=True, slots=True)
class HookReply:
    """An answer with status 200 to a request that is no event, such as a challenge."""

    body: bytes
    content_type: str = "application/json"


class Hook(Protocol):
    """Verifies the requests of one sender, and reads them. Implement it for other senders.

    Attributes:
        source: The `source` of the events.
    """

    @property
    def source(self) -> str: ...

    def read(self, headers: Mapping[str, str], body: bytes, now: float) -> Webhook | HookReply:
        """Return the webhook in a request, or the reply if it is no event. Does not block.

        The names of headers are in lower case. `now` is in seconds since the epoch.

        Raises UntrustedEvent if the signature or its time is wrong, InvalidEvent if the request is
        no webhook. The messages have no secret and no data.
        """
        ...


def check_hook(owner: str, source: str, template: str, tenant: str | None) -> None:
    """Check the source, the type and the tenant of a hook.

    The first segment of the type must be fixed: it decides which domain the sender can write to.
    Raises ConfigurationError.
    """
    fault = type_fault(template.replace(_TYPE, "x")) if isinstance(template, str) else "is no str"
    if not fault and _TYPE in template.partition(".")[0]:
        fault = "has no fixed first segment"
    if fault:
        raise ConfigurationError(
            f"{owner}: type={template!r} {fault}. Write it like 'partner.{{type}}'"
        )
    try:
        check_text("source", source)
        if tenant is not None:
            check_tenant(tenant)
    except InvalidEvent as error:
        raise ConfigurationError(f"{owner}: {error}") from None


def fill(template: str, type: str) -> str:
    """Return the type of an event from its template and the sender's type."""
    return template.replace(_TYPE, type)


def read_object(body: bytes) -> dict[str, Any]:
    """Return the members of a JSON object. Raises InvalidEvent."""
    try:
        return _decoder.decode(without_lone_surrogates(body))
    except UNREADABLE:
        raise InvalidEvent("the body is not a JSON object") from None


def text_of(members: Mapping[str, Any], *path: str) -> str | None:
    """Return the text at a path of members; None if there is none."""
    value: Any = members
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, str) and value else None


def required(members: Mapping[str, Any], *path: str) -> str:
    """Return the text at a path of members. Raises InvalidEvent."""
    value = text_of(members, *path)
    if value is None:
        raise InvalidEvent(f"`{'.'.join(path)}` is missing in the body")
    return value


def read_time(value: Any, name: str) -> datetime | None:
    """Return the time that is a number of seconds since the epoch; None for other values.

    `name` is the member with the value. Raises InvalidEvent for a number that is no time.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    try:
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        raise InvalidEvent(f"`{name}` is not a time") from None


_decoder = msgspec.json.Decoder(dict[str, Any])
