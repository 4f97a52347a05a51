"""What a handler returns or yields: events to emit with its completion."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any

from celeriac.event import Event
from celeriac.event.data_copy import copied
from celeriac.tenant import NoTenant


@dataclass(frozen=True, slots=True)
class Emit:
    """An event that a handler returns, to be emitted in the same step as its completion.

    Return one, return a list of them, or yield them. They are emitted after the function ended
    without an exception and before its delivery is processed, with the data as it was when they
    were yielded. With `inbox=`, they are written to the outbox in the inbox's transaction. The
    arguments are those of [emit][celeriac.EventBus.emit].

    The default `id` is derived from the handled event, the handler, `type` and the number of such
    events before it. A repeated run therefore emits nothing twice. In a batch of several events it
    is a new id.
    """

    type: str
    data: Any = None
    _: KW_ONLY
    id: str | None = None
    subject: str | None = None
    source: str | None = None
    time: datetime | None = None
    delay: float | timedelta | None = None
    at: datetime | None = None
    handlers: Sequence[str] = ()
    partitionkey: str | None = None
    tenant: str | NoTenant | None = None
    correlationid: str | None = None
    causationid: str | None = None
    traceparent: str | None = None
    dataschema: str | None = None
    datacontenttype: str | None = None
    sensitive: Sequence[str] | None = None
    encrypt_for: Sequence[str] | None = None
    extensions: Mapping[str, Any] | None = None

    @property
    def is_delayed(self) -> bool:
        """Whether handlers get it at a later time."""
        return self.delay is not None or self.at is not None

    def attributes(self) -> dict[str, Any]:
        """Return the given attributes of the event."""
        values = {name: getattr(self, name) for name in _ATTRIBUTES}
        return {name: value for name, value in values.items() if value not in (None, ())}


@dataclass(frozen=True, slots=True)
class Reply:
    """The reply that a handler returns to a request.

    Return it like an Emit, also with others in a list. It is emitted as an event with the
    handler's completion, and passed to the process that waits in `bus.request`. If that process
    waits no longer, the event has the extension attribute `late`. An event that is no request is
    answered in the same way, without a process that waits.

    Args:
        data: The data of the reply.
        type: The type of the event. Default: that of the request, followed by `.replied`.
        to: The request, for a handler with `batch=`. Default: the handled event.
    """

    data: Any = None
    _: KW_ONLY
    type: str | None = None
    to: Event[Any] | None = None
    subject: str | None = None
    dataschema: str | None = None
    datacontenttype: str | None = None
    sensitive: Sequence[str] | None = None
    encrypt_for: Sequence[str] | None = None
    extensions: Mapping[str, Any] | None = None

    def as_emit(self, request: Event[Any]) -> Emit:
        """Return it as an event to emit: about what the request is about, and caused by it."""
        return Emit(
            self.type or f"{request.type}.replied",
            self.data,
            subject=request.subject if self.subject is None else self.subject,
            correlationid=request.correlationid or request.id,
            causationid=request.id,
            tenant=request.tenant,
            dataschema=self.dataschema,
            datacontenttype=self.datacontenttype,
            sensitive=self.sensitive,
            encrypt_for=self.encrypt_for,
            extensions=self.extensions,
        )


Returned = Emit | Reply

_ATTRIBUTES = tuple(
    field.name for field in fields(Emit) if field.name not in ("type", "data", "delay", "at")
)


def returned_emits(answer: Any, handler: str) -> Sequence[Returned]:
    """Return the events in what a handler returned. Runs a generator to its end.

    Anything else that a handler returns is ignored. Raises TypeError for a generator or a list
    that has events and other things.
    """
    if isinstance(answer, (Emit, Reply)):
        return (answer,)
    if inspect.isgenerator(answer):
        return _checked([_as_yielded(value) for value in answer], handler, "yielded")
    if isinstance(answer, (list, tuple)) and any(
        isinstance(value, (Emit, Reply)) for value in answer
    ):
        return _checked(answer, handler, "returned a list with")
    return ()


async def yielded(answer: AsyncIterator[Any], handler: str) -> Sequence[Returned]:
    """Return the events that an async generator yields until its end; raise as `returned_emits`."""
    return _checked([_as_yielded(value) async for value in answer], handler, "yielded")


def _as_yielded(value: Any) -> Any:
    """Return an event with its data as it is now: the generator may change it when it continues."""
    return replace(value, data=copied(value.data)) if isinstance(value, Returned) else value


def _checked(values: Sequence[Any], handler: str, verb: str) -> Sequence[Returned]:
    for value in values:
        if not isinstance(value, (Emit, Reply)):
            raise TypeError(
                f"{handler} {verb} {type(value).__name__}: must be Emit or Reply. Write "
                "Emit('order.paid', data), or remove it"
            )
    return values
