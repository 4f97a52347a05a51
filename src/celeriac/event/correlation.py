"""Cause and correlation: what is emitted while an event is handled follows from it."""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import ContextVar, Token
from typing import Any, NamedTuple

from celeriac.event.envelope import Event
from celeriac.event.identity import event_key, key_id

# Of one delivery: more effects than these are counted, and not named.
MAX_EMITTED = 100


class EmittedEvent(NamedTuple):
    """An event that was emitted while another was handled. `key` is its event key."""

    type: str
    key: str

    @property
    def id(self) -> str:
        return key_id(self.key)


class EmittedEvents(NamedTuple):
    """What was emitted while an event was handled: the first MOST_EFFECTS by name, and how many
    more there were."""

    named: tuple[EmittedEvent, ...] = ()
    unnamed: int = 0

    def __bool__(self) -> bool:
        return bool(self.named)

    def and_those_of(self, attempt: EmittedEvents) -> EmittedEvents:
        """Return these and those of a later attempt, which emits what has no given id again."""
        named = tuple(dict.fromkeys(self.named + attempt.named))
        unnamed = self.unnamed + attempt.unnamed + max(0, len(named) - MAX_EMITTED)
        return EmittedEvents(named[:MAX_EMITTED], unnamed)


NONE_EMITTED = EmittedEvents()


class HandlingContext:
    """One attempt under way: the event at hand, by which handler, and what was emitted meanwhile.

    `with HandlingContext(event) as under_way` makes `event` the cause of what is emitted inside, in
    this thread or asyncio task. Of a batch `event` is the first of `size`. `emitted_count` counts
    all that was emitted."""

    __slots__ = ("_named", "_token", "attempt", "emitted_count", "event", "handler", "size")
    _token: Token[HandlingContext | None]

    def __init__(
        self, event: Event[Any], attempt: int = 1, handler: str = "", size: int = 1
    ) -> None:
        self.event, self.attempt, self.handler, self.size = event, attempt, handler, size
        self._named: list[EmittedEvent] | None = None
        self.emitted_count = 0

    def __enter__(self) -> HandlingContext:
        self._token = _current.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        _current.reset(self._token)

    @property
    def emitted_events(self) -> EmittedEvents:
        """The first MOST_EFFECTS that were emitted by name, and how many more there were."""
        if self._named is None:
            return NONE_EMITTED
        return EmittedEvents(tuple(self._named), self.emitted_count - len(self._named))

    def note(self, event: Event[Any]) -> None:
        """Count an event that was emitted."""
        self.emitted_count += 1
        if self._named is None:
            self._named = []
        if len(self._named) < MAX_EMITTED:
            self._named.append(EmittedEvent(event.type, event_key(event.id, event.source)))


_current: ContextVar[HandlingContext | None] = ContextVar("celeriac_handling", default=None)


class Causality(NamedTuple):
    """Where a new event comes from."""

    correlationid: str | None
    causationid: str | None
    traceparent: str | None


def record_emitted(events: Iterable[Event[Any]]) -> None:
    """Says what was emitted just now; outside a handler nothing comes of it."""
    under_way = _current.get()
    if under_way is None:
        return
    for event in events:
        under_way.note(event)


def current_handling() -> HandlingContext | None:
    """The attempt under way; None outside a handler."""
    return _current.get()


def current_event() -> Event[Any] | None:
    """Return the event being handled, the first one of a batch; None outside a handler."""
    now = _current.get()
    return None if now is None else now.event


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
    """The causality of an event emitted now. What is given wins over what is inherited."""
    now = _current.get()
    if now is None:
        return Causality(correlationid, causationid, traceparent)
    cause = now.event
    return Causality(
        # the first event of a chain has no correlation id: its own id becomes that of the chain
        correlationid=_first(correlationid, cause.correlationid, cause.id),
        causationid=_first(causationid, cause.id),
        traceparent=_first(traceparent, cause.traceparent),
    )


def _first(*values: str | None) -> str | None:
    # not `or`: an empty string that was given is a mistake to be refused, not to be replaced
    return next((value for value in values if value is not None), None)
