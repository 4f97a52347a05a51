"""Cause and correlation: what is emitted while an event is handled follows from it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

from celeriac.event.envelope import Event


class Handling(NamedTuple):
    """What runs now: the event, or the first of `size`, and who handles it for which time."""

    event: Event[Any]
    attempt: int = 1
    handler: str = ""
    size: int = 1


_current: ContextVar[Handling | None] = ContextVar("celeriac_handling", default=None)


class Causality(NamedTuple):
    """Where a new event comes from."""

    correlationid: str | None
    causationid: str | None
    traceparent: str | None


@contextmanager
def handling(
    event: Event[Any], attempt: int = 1, handler: str = "", size: int = 1
) -> Iterator[None]:
    """Makes `event` the cause of what is emitted inside, in this thread or asyncio task."""
    token = _current.set(Handling(event, attempt, handler, size))
    try:
        yield
    finally:
        _current.reset(token)


def current_handling() -> Handling | None:
    """What this thread or asyncio task handles; None outside a handler."""
    return _current.get()


def current_event() -> Event[Any] | None:
    """The event being handled, of a batch the first; None outside a handler."""
    now = _current.get()
    return None if now is None else now.event


def current_attempt() -> int:
    """Which attempt at the event being handled this is, from 1; 0 outside a handler."""
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
