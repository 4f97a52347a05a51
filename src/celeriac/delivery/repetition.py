"""Detect entries of a log that repeat the event of an earlier entry.

An event is registered with its entry if its id was given, or if appending it was retried. If an
earlier entry may exist that is not registered, the log is searched for it once. The functions are
pure: they compute where to search, and what follows from the result.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence

import msgspec

from celeriac.delivery.run_record import Run, RunOutcome
from celeriac.delivery.state import ClaimResult
from celeriac.errors import InvalidEvent
from celeriac.event import is_signed, is_unguessable, key_id, made_ms, read_header
from celeriac.event_log import Entry, EntryKind, entry_key, entry_time_ms
from celeriac.event_log.registered import CONTESTED, MADE_SPAN_MS, MARGIN_MS, Registered
from celeriac.transfer import FIRST_PAGE, next_page

logger = logging.getLogger(__name__)

PAGE = 1000
MAX_SEARCHED = 200_000  # entries, for one chunk; takes seconds
# Reads entries from one id to another, both included, at most N.
Read = Callable[[str, str, int], Sequence[Entry]]


class Repetitions(msgspec.Struct, frozen=True):
    """Ids of entries that repeat an event.

    The `certain` ones repeat the event of another entry and must be ignored. The `possible` ones
    repeat it unless the handler refused the entry that each is mapped to: they must be claimed,
    each as a separate delivery.
    """

    certain: frozenset[str] = frozenset()
    possible: Mapping[str, str] = {}


def find_repetitions(
    entries: Sequence[tuple[Entry, str]],
    known: Mapping[str, Registered],
    first_entries: Mapping[str, str],
) -> Repetitions:
    """Return the entries that repeat an event.

    Args:
        known: Event key → what is registered for it.
        first_entries: Event key → an earlier entry in the log.
    """
    certain: set[str] = set()
    possible: dict[str, str] = {}
    for entry, event_key in entries:
        if entry.kind is EntryKind.REDRIVEN:  # appended again on purpose
            continue
        registered, first = known.get(event_key), first_entries.get(event_key)
        if first is not None:
            if first != entry.id:
                certain.add(entry.id)
        elif registered is not None:
            other = registered.earlier or registered.entry
            if other == entry.id:
                continue
            if registered.is_contested or registered.earlier or _may_be_forged(entry, event_key):
                possible[entry.id] = other
            else:
                certain.add(entry.id)
    return Repetitions(frozenset(certain), possible)


def claim_results(
    possible: Mapping[str, str], runs: Mapping[str, Run], running: Container[str]
) -> dict[str, ClaimResult]:
    """Return the results for entries that may repeat the entry that each is mapped to.

    `runs` are runs of entries in chunks; `running` are entries of an open chunk.
    """
    results = {}
    for entry, other in possible.items():
        if other in running:
            results[entry] = ClaimResult.CONCURRENT
        elif other in runs and runs[other].outcome is RunOutcome.PROCESSED:
            results[entry] = ClaimResult.DUPLICATE
    return results


def _may_be_forged(entry: Entry, event_key: str) -> bool:
    """Return whether the entry is signed and an earlier, forged event may have its id."""
    if entry.kind is not EntryKind.FOREIGN or is_unguessable(key_id(event_key)):
        return False
    return is_signed(entry.body or b"")


def unresolved(known: Mapping[str, Registered]) -> dict[str, Registered]:
    """Return where to look for earlier entries of registered events."""
    return {key: registered for key, registered in known.items() if not registered.is_resolved}


def new_foreign(
    entries: Sequence[tuple[Entry, str]],
    known: Mapping[str, Registered],
    first_entries: Mapping[str, str],
) -> dict[str, str]:
    """Return event key → what to register for unknown events of foreign producers."""
    new: dict[str, str] = {}
    for entry, event_key in entries:
        if entry.kind is EntryKind.FOREIGN and event_key and event_key not in known:
            new.setdefault(event_key, first_entries.get(event_key) or entry.id + CONTESTED)
    return new


def foreign_copies(
    entries: Sequence[tuple[Entry, str]], known: Mapping[str, Registered]
) -> dict[str, Registered]:
    """Return where to look for events that a foreign producer appended with an id of `emit`."""
    copies = {}
    for entry, event_key in entries:
        if entry.kind is not EntryKind.FOREIGN or event_key in known:
            continue
        if made := made_ms(key_id(event_key)):
            from_ms = made - MARGIN_MS
            copies[event_key] = Registered(entry.id, from_ms, from_ms + MADE_SPAN_MS, False)
    return copies


def find_first(read: Read, wanted: Mapping[str, Registered]) -> tuple[dict[str, str], bool]:
    """Search the log for earlier entries of events.

    Returns event key → the first entry, and whether the search was complete.
    """
    first_entries: dict[str, str] = {}
    remaining = MAX_SEARCHED
    for start, end in _ranges(wanted.values()):
        for entry in _entries(read, start, end):
            remaining -= 1
            if remaining < 0:
                logger.warning(
                    "celeriac: the search for retried events reached its limit of %d entries "
                    "since %s; some events may run twice",
                    MAX_SEARCHED,
                    start,
                )
                return first_entries, False
            if entry.kind is not EntryKind.MADE:
                continue
            event_key = _key_of(entry)
            sought = wanted.get(event_key)
            if sought is not None and event_key not in first_entries and _is_sought(entry, sought):
                first_entries[event_key] = entry.id
    return first_entries, True


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
    """Return the ranges of the log to read, without overlaps."""
    spans = sorted(
        (at.from_ms, min(at.to_ms or entry_time_ms(at.entry), entry_time_ms(at.entry)))
        for at in sought
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
        count = next_page([len(entry.body or b"") for entry in page], PAGE)
