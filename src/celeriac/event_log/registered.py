"""Events that enter the log once, however often they are appended: those with a given id, and those
that are tried again. Pure: what append_once.lua and promote.lua are given, and what it answers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Any

from celeriac.event import is_unguessable, made_ms, read_header
from celeriac.event_log.event_log import EntryKind, Item, is_entry

MAX_EVENTS = 100  # of one call: it takes half a millisecond of the server
# An id that `emit` made is of an event that entered the log within so many ms, or was tried again.
MADE_SPAN_MS = 10_000
MARGIN_MS = 1000  # for a clock that is adjusted; as in lua/append_once.lua
SEPARATOR = b"\x1f"  # neither in an event key nor in JSON
MADE, GIVEN, FOREIGN = EntryKind.MADE, EntryKind.GIVEN, EntryKind.FOREIGN


@dataclass(frozen=True, slots=True)
class Registered:
    """The entry of an event. Unless it is resolved, the event may have an earlier entry: then that
    is among those from `from_ms` to `to_ms`, or to this one.

    An id is contested where a foreign producer used it, or a handler refused the event. It then
    keeps no later event from the log. With that one it has an `earlier` entry; whether this one
    repeats that is for each handler to decide, in `claim`.
    """

    entry: str
    from_ms: int = 0
    to_ms: int | None = None
    is_resolved: bool = True
    is_contested: bool = False
    earlier: str = ""


CONTESTED, AFTER = "!", "+"


def parse_registered(value: bytes) -> Registered | None:
    """Return what the scripts of lua/_ids.lua registered; None for what they did not write."""
    text = value.decode(errors="replace")
    entry, after, earlier = text.partition(AFTER)
    if after:
        found = Registered(entry, earlier=earlier)
    elif text.endswith(CONTESTED):
        found = Registered(text.removesuffix(CONTESTED), is_contested=True)
    else:
        entry, question, span = text.partition("?")
        from_ms, _, to_ms = span.partition(":")
        is_span = from_ms.lstrip("-").isdecimal() and (to_ms or "0").isdecimal()
        found = Registered(entry)
        if question and is_span:
            found = Registered(entry, int(from_ms), int(to_ms) if to_ms else None, False)
    return found if is_entry(found.entry) else None


def kind_of_id(event_id: str, *, signed: bool) -> tuple[EntryKind, int]:
    """Return `kind` and `since_ms` of EventLog.append for an event whose id was given.

    A signed event whose id someone may guess is left to `claim`, which knows what each handler
    refused: an unsigned event that came first with its id must not keep it from the log.
    """
    if signed and not is_unguessable(event_id):
        return FOREIGN, 0
    return GIVEN, made_ms(event_id)


def kind_postponed(kind: EntryKind, *, signed: bool) -> EntryKind:
    """Return the kind with which an event of this kind is held until its time.

    Whoever may read what is held may register its id: the event would not enter the log. So a
    signed one is not registered; handlers find what repeats it.
    """
    return FOREIGN if signed else kind


def is_registered(kind: EntryKind, since_ms: int) -> bool:
    """Whether an event enters the log by append_once.lua. Else it is one XADD."""
    return kind is GIVEN or since_ms > 0


def is_plain(items: Sequence[Item]) -> bool:
    """Whether every event is one XADD."""
    # Not by `is_registered`: this is asked for every event of emit_many.
    return not [since for _, _, kind, since in items if since or kind is GIVEN]


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
        found += (read_header(body).key, body, age, span)
    return found


def parse_intervals(noted: bytes | None) -> list[tuple[int, int]]:
    """Return the intervals of time, in ms, in which entries may repeat an event."""
    found = re.findall(rb"(\d+):(\d+)", noted or b"")
    return [(int(first), int(last)) for first, last in found]


def postponed(body: bytes, kind: EntryKind) -> bytes:
    """Return an event as it is held until its time: behind the key that promote.lua registers."""
    return body if kind is FOREIGN else read_header(body).key.encode() + SEPARATOR + body


def is_keyed(member: bytes) -> bool:
    """Whether an event that is held until its time has its event key before it."""
    return SEPARATOR in member


def event_of(member: bytes) -> bytes:
    """Return the event in what `postponed` returned."""
    return member.partition(SEPARATOR)[2] if is_keyed(member) else member
