"""Events that enter the log once, however often they are appended: those with a given id, and those
that are tried again. Pure: what append_once.lua and promote.lua are given, and what it answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby, islice
from typing import Any

from celeriac.event import peek
from celeriac.log.log import EntryKind, Item
from celeriac.scripts import Script

APPEND_ONCE = Script("celeriac.log", "append_once.lua")
MAX_EVENTS = 100  # of one call: it takes half a millisecond of the server
# An id that `emit` made is of an event that entered the log within so many ms, or was tried again.
MADE_SPAN_MS = 10_000
SEPARATOR = b"\x1f"  # neither in an event key nor in JSON
MADE, FOREIGN = EntryKind.MADE, EntryKind.FOREIGN


def is_registered(kind: EntryKind, since_ms: int) -> bool:
    """Whether an event enters the log by append_once.lua. Else it is one XADD."""
    return since_ms > 0 or not (kind is MADE or kind is FOREIGN)


def is_plain(items: Sequence[Item]) -> bool:
    """Whether every event is one XADD."""
    return not any(is_registered(kind, since) for _, _, kind, since in items)


def runs(items: Sequence[Item]) -> Iterator[list[Item]]:
    """Return the events in their order, in lists that are one command each: either they enter the
    log by append_once.lua, or it is one event."""
    for (_, registered), found in groupby(items, lambda item: (item[0], is_registered(*item[2:]))):
        while chosen := list(islice(found, MAX_EVENTS if registered else 1)):
            yield chosen


def arguments(items: Sequence[Item], window_ms: int, now_ms: int) -> list[Any]:
    """Return the arguments of append_once.lua. `now_ms`: by the clock of the items' `since_ms`."""
    found: list[Any] = [window_ms]
    for _, body, kind, since in items:
        age = max(0, now_ms - since) if since else ""
        span = MADE_SPAN_MS if since and kind is not MADE else ""
        found += (peek(body).key, body, age, span)
    return found


def postponed(body: bytes, kind: EntryKind) -> bytes:
    """Return an event as it is held until its time: behind the key that promote.lua registers."""
    return body if kind is FOREIGN else peek(body).key.encode() + SEPARATOR + body


def is_keyed(member: bytes) -> bool:
    """Whether an event that is held until its time has its event key before it."""
    return SEPARATOR in member


def event_of(member: bytes) -> bytes:
    """Return the event in what `postponed` returned."""
    return member.partition(SEPARATOR)[2] if is_keyed(member) else member
