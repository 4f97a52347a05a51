"""How delayed events are stored: each under a token, by which `cancel` finds it.

Pure: the arguments of postpone.lua and cancel.lua.
"""

from __future__ import annotations

from collections.abc import Sequence

from celeriac.errors import InvalidEvent
from celeriac.event import read_header
from celeriac.event_log.event_log import EntryKind

SEPARATOR = "\x1f"  # in no event key
# Delayed events with the same key and no claim on it. Further ones cannot be cancelled.
MAX_UNREGISTERED = 8


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
