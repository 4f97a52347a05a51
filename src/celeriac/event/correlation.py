"""Cause and correlation: an event emitted by a handler inherits them from the handled event."""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import ContextVar, Token
from typing import Any, NamedTuple

from celeriac.event.envelope import Event
from celeriac.event.identity import event_key, key_id

# Emitted events that are named for one delivery; further ones are only counted.
MAX_EMITTED = 100


class EmittedEvent(NamedTuple):
    """An event that was emitted while another was handled. `key` is its event key."""

    type: str
    key: str

    @property
    def id(self) -> str:
        return key_id(self.key)


class EmittedEvents(NamedTuple):
    """The events emitted by a handler: the first MAX_EMITTED by name, and the number of others."""

    named: tuple[EmittedEvent, ...] = ()
    unnamed: int = 0

    def __bool__(self) -> bool:
        return bool(self.named)

    def and_those_of(self, attempt: EmittedEvents) -> EmittedEvents:
        """Return these events and those of a later attempt, which may emit them under new ids."""
        named = tuple(dict.fromkeys(self.named + attempt.named))
        unnamed = self.unnamed + attempt.unnamed + max(0, len(named) - MAX_EMITTED)
        return EmittedEvents(named[:MAX_EMITTED], unnamed)


NONE_EMITTED = EmittedEvents()


class HandlingContext:
    """The current attempt: its event and handler, and the events that it emitted.

    `with HandlingContext(event) as context` makes `event` the cause of the events that are emitted
    within, in this thread or asyncio task. For a batch, `event` is the first of `size` events.
    `is_batch` is True for a handler that takes lists, also with a list of one event.
    """

    __slots__ = (
        "_named",
        "_token",
        "attempt",
        "emitted_count",
        "event",
        "handler",
        "is_batch",
        "replies",
        "size",
    )
    _token: Token[HandlingContext | None]

    def __init__(
        self,
        event: Event[Any],
        attempt: int = 1,
        handler: str = "",
        size: int = 1,
        *,
        is_batch: bool = False,
    ) -> None:
        self.event, self.attempt, self.handler, self.size = event, attempt, handler, size
        self.is_batch = is_batch
        self._named: list[EmittedEvent] | None = None
        self.emitted_count = 0
        # Type of the request, mailbox and body of replies that are passed on after a commit.
        self.replies: list[tuple[str, str, bytes]] | None = None

    def __enter__(self) -> HandlingContext:
        self._token = _current.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        _current.reset(self._token)

    @property
    def emitted_events(self) -> EmittedEvents:
        """The events emitted so far."""
        if self._named is None:
            return NONE_EMITTED
        return EmittedEvents(tuple(self._named), self.emitted_count - len(self._named))

    def record(self, event: Event[Any]) -> None:
        """Record an emitted event."""
        self.emitted_count += 1
        if self._named is None:
            self._named = []
        if len(self._named) < MAX_EMITTED:
            self._named.append(EmittedEvent(event.type, event_key(event.id, event.source)))


_current: ContextVar[HandlingContext | None] = ContextVar("celeriac_handling", default=None)


class Causality(NamedTuple):
    """The cause, correlation and trace of a new event."""

    correlationid: str | None
    causationid: str | None
    traceparent: str | None


def record_emitted(events: Iterable[Event[Any]]) -> None:
    """Record emitted events in the current attempt; without effect outside a handler."""
    context = _current.get()
    if context is None:
        return
    for event in events:
        context.record(event)


def current_handling() -> HandlingContext | None:
    """Return the current attempt; None outside a handler."""
    return _current.get()


def current_event() -> Event[Any] | None:
    """Return the event being handled, the first one of a batch; None outside a handler."""
    now = _current.get()
    return None if now is None else now.event


def current_tenant() -> str | None:
    """Return the tenant of the event being handled; None outside a handler, and in a batch.

    The events of a batch can have several tenants. An event about one of them must not get the
    tenant of another, or a tenant that depends on the composition of the batch.
    """
    now = _current.get()
    return None if now is None or now.is_batch else now.event.tenant


def current_attempt() -> int:
    """Return the number of the current attempt, from 1; 0 outside a handler."""
    now = _current.get()
    return 0 if now is None else now.attempt


def inherit(
    *,
    correlationid: str | None = None,
    causationid: str | None = None,
    traceparent: str | None = None,
) -> Causality:
    """Return the causality of an event emitted now. Arguments take precedence."""
    context = _current.get()
    if context is None:
        return Causality(correlationid, causationid, traceparent)
    cause = context.event
    return Causality(
        # The first event of a chain has no correlation id; its id becomes that of the chain.
        correlationid=_first(correlationid, cause.correlationid, cause.id),
        causationid=_first(causationid, cause.id),
        traceparent=_first(traceparent, cause.traceparent),
    )


def _first(*values: str | None) -> str | None:
    # An empty string is not replaced, so that validation refuses it.
    return next((value for value in values if value is not None), None)
