"""Deduplication of appends: of events with given ids, and of appends that are retried.

Pure: the arguments and replies of append_once.lua and enqueue_due.lua.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Any

from celeriac.event import is_unguessable, made_ms, read_header
from celeriac.event_log.event_log import EntryKind, Item, is_entry

MAX_EVENTS = 100  # of one call, which takes half a millisecond of the server
# An event with an id of `emit` was appended within this time, or its append was retried.
MADE_SPAN_MS = 10_000
MARGIN_MS = 1000  # for adjusted clocks; as in lua/append_once.lua
MADE, GIVEN, FOREIGN = EntryKind.MADE, EntryKind.GIVEN, EntryKind.FOREIGN


@dataclass(frozen=True, slots=True)
class Registered:
    """The registered entry of an event id.

    Unless it is resolved, the event may have an earlier entry, between `from_ms` and `to_ms`, or
    this one. An id is contested if a foreign producer used it, or if a handler refused the event:
    then it does not prevent later appends. A later event has an `earlier` entry; `claim` decides
    for each handler whether it is a repetition.
    """

    entry: str
    from_ms: int = 0
    to_ms: int | None = None
    is_resolved: bool = True
    is_contested: bool = False
    earlier: str = ""


CONTESTED, AFTER = "!", "+"


def parse_registered(value: bytes) -> Registered | None:
    """Return the registration that lua/_ids.lua wrote; None for other bytes."""
    text = value.decode(errors="replace")
    entry, after, earlier = text.partition(AFTER)
    if after:
        registered = Registered(entry, earlier=earlier)
    elif text.endswith(CONTESTED):
        registered = Registered(text.removesuffix(CONTESTED), is_contested=True)
    else:
        entry, question, span = text.partition("?")
        from_ms, _, to_ms = span.partition(":")
        is_span = from_ms.lstrip("-").isdecimal() and (to_ms or "0").isdecimal()
        registered = Registered(entry)
        if question and is_span:
            registered = Registered(entry, int(from_ms), int(to_ms) if to_ms else None, False)
    return registered if is_entry(registered.entry) else None


def kind_of_id(event_id: str, *, signed: bool) -> tuple[EntryKind, int]:
    """Return `kind` and `since_ms` of EventLog.append for an event whose id was given.

    A signed event whose id can be guessed is deduplicated by `claim`, which has the
    refusals of each handler: an unsigned event with the same id must not prevent its append.
    """
    if signed and not is_unguessable(event_id):
        return FOREIGN, 0
    return GIVEN, made_ms(event_id)


def kind_delayed(kind: EntryKind, *, signed: bool) -> EntryKind:
    """Return the kind of a delayed event of this kind.

    A service that can read delayed events could register their ids and prevent their append. So a
    signed event is not registered; handlers detect its repetitions.
    """
    return FOREIGN if signed else kind


def is_registered(kind: EntryKind, since_ms: int) -> bool:
    """Return whether append_once.lua appends the event, instead of one XADD."""
    return kind is GIVEN or since_ms > 0


def is_plain(items: Sequence[Item]) -> bool:
    """Return whether every event is one XADD."""
    # Without a call of `is_registered` for each event of emit_many.
    return not [since for _, _, kind, since in items if since or kind is GIVEN]


def runs(items: Sequence[Item]) -> Iterator[list[Item]]:
    """Yield the items in order, in lists for one command each: append_once.lua, or one XADD."""
    for (_, registered), run in groupby(items, lambda item: (item[0], is_registered(*item[2:]))):
        while chosen := list(islice(run, MAX_EVENTS if registered else 1)):
            yield chosen


def arguments(items: Sequence[Item], window_ms: int, now_ms: int) -> list[Any]:
    """Return the arguments of append_once.lua. `now_ms` is by the clock of `since_ms`."""
    values: list[Any] = [window_ms]
    for _, body, kind, since in items:
        age = max(0, now_ms - since) if since else ""
        span = MADE_SPAN_MS if since and kind is not MADE else ""
        values += (read_header(body).key, body, age, span)
    return values


def parse_intervals(stored: bytes | None) -> list[tuple[int, int]]:
    """Return the intervals of time, in ms, in which entries may repeat an event."""
    pairs = re.findall(rb"(\d+):(\d+)", stored or b"")
    return [(int(first), int(last)) for first, last in pairs]
