"""Which entries of a log repeat an event that an earlier entry has.

An event whose id was given, or that was tried again, is registered with its entry. Where it may
have an earlier entry that is not registered, that one is looked for in the log, once. Pure: what to
look for, and what follows from what was found.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence

import msgspec

from celeriac.delivery.run_record import Run, RunOutcome
from celeriac.delivery.state import Verdict
from celeriac.errors import InvalidEvent
from celeriac.event import is_signed, is_unguessable, key_id, made_ms, read_header
from celeriac.event_log import Entry, EntryKind, entry_key, entry_time_ms
from celeriac.event_log.registered import CONTESTED, MADE_SPAN_MS, MARGIN_MS, Registered
from celeriac.transfer import FIRST_PAGE, next_page

logger = logging.getLogger(__name__)

PAGE = 1000
MAX_SEARCHED = 200_000  # entries, for one chunk: seconds
# Entries from an id to another, both included, at most so many.
Read = Callable[[str, str, int], Sequence[Entry]]


class Repetitions(msgspec.Struct, frozen=True):
    """Ids of entries. The `certain` ones repeat the event of another one, and must be ignored. The
    `possible` ones do so if the handler did not refuse the entry that is named with each: they must
    be claimed, each as a delivery of its own."""

    certain: frozenset[str] = frozenset()
    possible: Mapping[str, str] = {}


def find_repetitions(
    entries: Sequence[tuple[Entry, str]],
    known: Mapping[str, Registered],
    found: Mapping[str, str],
) -> Repetitions:
    """Return the entries that repeat an event. `known`: event key → what is registered; `found`:
    event key → an earlier entry that the log has."""
    certain: set[str] = set()
    possible: dict[str, str] = {}
    for entry, event_key in entries:
        if entry.kind is EntryKind.REDRIVEN:  # in the log again on purpose
            continue
        registered, first = known.get(event_key), found.get(event_key)
        if first is not None:
            if first != entry.id:
                certain.add(entry.id)
        elif registered is not None:
            other = registered.earlier or registered.entry
            if other == entry.id:
                continue
            if registered.is_contested or registered.earlier or _is_vouched(entry, event_key):
                possible[entry.id] = other
            else:
                certain.add(entry.id)
    return Repetitions(frozenset(certain), possible)


def verdicts_on(
    possible: Mapping[str, str], runs: Mapping[str, Run], running: Container[str]
) -> dict[str, Verdict]:
    """Return the verdicts of a handler on entries that may repeat the one named with each. `runs`
    are those of entries in chunks; `running` are in an open chunk."""
    verdicts = {}
    for entry, other in possible.items():
        if other in running:
            verdicts[entry] = Verdict.CONCURRENT
        elif other in runs and runs[other].outcome is RunOutcome.PROCESSED:
            verdicts[entry] = Verdict.DUPLICATE
    return verdicts


def _is_vouched(entry: Entry, event_key: str) -> bool:
    """Whether it is signed and has an id that someone may have used for a forged event before."""
    if entry.kind is not EntryKind.FOREIGN or is_unguessable(key_id(event_key)):
        return False
    return is_signed(entry.body or b"")


def unresolved(known: Mapping[str, Registered]) -> dict[str, Registered]:
    """Return where to look for earlier entries of registered events."""
    return {event_key: one for event_key, one in known.items() if not one.is_resolved}


def new_foreign(
    entries: Sequence[tuple[Entry, str]],
    known: Mapping[str, Registered],
    found: Mapping[str, str],
) -> dict[str, str]:
    """Return event key → what to register for events of foreign producers that are not known."""
    new: dict[str, str] = {}
    for entry, event_key in entries:
        if entry.kind is EntryKind.FOREIGN and event_key and event_key not in known:
            new.setdefault(event_key, found.get(event_key) or entry.id + CONTESTED)
    return new


def foreign_copies(
    entries: Sequence[tuple[Entry, str]], known: Mapping[str, Registered]
) -> dict[str, Registered]:
    """Return where to look for events that a foreign producer appended with an id of `emit`."""
    found = {}
    for entry, event_key in entries:
        if entry.kind is not EntryKind.FOREIGN or event_key in known:
            continue
        if made := made_ms(key_id(event_key)):
            from_ms = made - MARGIN_MS
            found[event_key] = Registered(entry.id, from_ms, from_ms + MADE_SPAN_MS, False)
    return found


def find_first(read: Read, wanted: Mapping[str, Registered]) -> tuple[dict[str, str], bool]:
    """Look for earlier entries of events; return event key → the first one, and whether all that
    had to be read was read."""
    found: dict[str, str] = {}
    left = MAX_SEARCHED
    for start, end in _ranges(wanted.values()):
        for entry in _entries(read, start, end):
            left -= 1
            if left < 0:
                logger.warning(
                    "celeriac: more than %d entries since %s would have to be read to find events "
                    "that were tried again; they may run twice",
                    MAX_SEARCHED,
                    start,
                )
                return found, False
            if entry.kind is not EntryKind.MADE:
                continue
            event_key = _key_of(entry)
            sought = wanted.get(event_key)
            if sought is not None and event_key not in found and _is_sought(entry, sought):
                found[event_key] = entry.id
    return found, True


def _is_sought(entry: Entry, sought: Registered) -> bool:
    at = entry_time_ms(entry.id)
    is_within = sought.from_ms <= at and (sought.to_ms is None or at <= sought.to_ms)
    return is_within and entry_key(entry.id) < entry_key(sought.entry)


def _key_of(entry: Entry) -> str:
    try:
        return read_header(entry.body or b"").key
    except InvalidEvent:
        return ""


def _ranges(sought: Iterable[Registered]) -> Iterator[tuple[str, str]]:
    """The stretches of the log that have to be read, none twice."""
    spans = sorted(
        (one.from_ms, min(one.to_ms or entry_time_ms(one.entry), entry_time_ms(one.entry)))
        for one in sought
    )
    joined: list[tuple[int, int]] = []
    for from_ms, to_ms in spans:
        if joined and from_ms <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(joined[-1][1], to_ms)
        else:
            joined.append((from_ms, to_ms))
    return ((f"{max(0, from_ms)}", f"{to_ms}") for from_ms, to_ms in joined if to_ms >= 0)


def _entries(read: Read, start: str, end: str) -> Iterator[Entry]:
    count = FIRST_PAGE
    while page := read(start, end, count):
        yield from page
        if len(page) < count:
            return
        start = f"({page[-1].id}"
        count = next_page([len(one.body or b"") for one in page], PAGE)
