"""Cause and correlation: what is emitted while an event is handled follows from it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

from celeriac.event.envelope import Event

_current: ContextVar[Event[Any] | None] = ContextVar("celeriac_current_event", default=None)
_attempt: ContextVar[int] = ContextVar("celeriac_current_attempt", default=0)


class Causality(NamedTuple):
    """Where a new event comes from."""

    correlationid: str | None
    causationid: str | None
    traceparent: str | None


@contextmanager
def handling(event: Event[Any], attempt: int = 1) -> Iterator[None]:
    """Makes `event` the cause of what is emitted inside, in this thread or asyncio task."""
    token, counted = _current.set(event), _attempt.set(attempt)
    try:
        yield
    finally:
        _attempt.reset(counted)
        _current.reset(token)


def current_event() -> Event[Any] | None:
    """The event being handled; None outside a handler."""
    return _current.get()


def current_attempt() -> int:
    """Which attempt at the event being handled this is, from 1; 0 outside a handler."""
    return _attempt.get()


def inherit(
    *,
    correlationid: str | None = None,
    causationid: str | None = None,
    traceparent: str | None = None,
) -> Causality:
    """The causality of an event emitted now. What is given wins over what is inherited."""
    cause = _current.get()
    if cause is None:
        return Causality(correlationid, causationid, traceparent)
    return Causality(
        # the first event of a chain has no correlation id: its own id becomes that of the chain
        correlationid=_first(correlationid, cause.correlationid, cause.id),
        causationid=_first(causationid, cause.id),
        traceparent=_first(traceparent, cause.traceparent),
    )


def _first(*values: str | None) -> str | None:
    # not `or`: an empty string that was given is a mistake to be refused, not to be replaced
    return next((value for value in values if value is not None), None)
