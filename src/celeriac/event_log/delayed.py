"""How delayed events are stored: until when, and under a token by which `cancel` finds each.

Pure: the arguments of delay_event.lua and cancel.lua.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from celeriac.errors import InvalidEvent
from celeriac.event import read_header
from celeriac.event_log.event_log import EntryKind

SEPARATOR = "\x1f"  # in no event key
# Delayed events with the same key and no claim on it. Further ones cannot be cancelled.
MAX_UNREGISTERED = 8


def when_ms(delay: float | timedelta | None, at: datetime | None) -> tuple[int | None, int | None]:
    """Return (delay in ms, absolute time in ms), where at most one is not None.

    Raises InvalidEvent.
    """
    if delay is not None and at is not None:
        raise InvalidEvent("`delay` and `at` exclude each other. Give one of them")
    if at is not None:
        if not isinstance(at, datetime) or at.tzinfo is None:
            raise InvalidEvent(
                f"at={at!r}: must be a datetime with a timezone, e.g. datetime.now(UTC)"
            )
        return None, int(at.timestamp() * 1000)
    if delay is None:
        return None, None
    seconds = delay.total_seconds() if isinstance(delay, timedelta) else delay
    if not isinstance(seconds, (int, float)) or not 0 <= seconds < 1e10:
        raise InvalidEvent(
            f"delay={delay!r}: must be a timedelta or a finite number of seconds, at least 0"
        )
    return int(seconds * 1000), None


def tokens_to_take(body: bytes, kind: EntryKind) -> Sequence[str]:
    """Return the tokens under which a delayed event may be stored; it takes the first unused one.

    An event whose key is registered when its time comes has one token: the first such event stays.
    Others must not keep each other out, so they have several. What is no valid event has none.
    """
    try:
        event_key = read_header(body).key
    except InvalidEvent:
        return ()
    return (event_key,) if kind is not EntryKind.FOREIGN else _unregistered(event_key)


def tokens_of(event_key: str) -> Sequence[str]:
    """Return every token under which events with this key are stored."""
    return (event_key, *_unregistered(event_key))


def is_registering(token: str) -> bool:
    """Return whether an event with this token is registered when its time comes."""
    return SEPARATOR not in token


def _unregistered(event_key: str) -> Sequence[str]:
    return [f"{event_key}{SEPARATOR}{number}" for number in range(MAX_UNREGISTERED)]
