"""Finding events by their id, which no index holds: where one is likely first, then everywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from celeriac.errors import InvalidEvent, NotFound
from celeriac.event import decode, event_key, id_time_ms, made_ms, read_header
from celeriac.event_log import Entry, EventLog, is_entry
from celeriac.registry import HandlerRecord
from celeriac.store.factory import Backend
from celeriac.tracking.cell import Located
from celeriac.tracking.position import stands
from celeriac.tracking.reading import Reading
from celeriac.visible import listed

# How far the time in an id may be from that of the entry: an emit takes a while, and the clock of a
# producer may be off. The first is the usual case, and cheap.
WINDOWS_MS = (20, 2_000, 300_000)


class EventNotFound(NotFound):
    """No stream has the event. `is_partial` is True if parts of the streams were not read."""

    def __init__(self, message: str, *, is_partial: bool) -> None:
        super().__init__(message)
        self.is_partial = is_partial


def locate(
    backend: Backend,
    records: Sequence[HandlerRecord],
    event_id: str,
    *,
    source: str | None = None,
    near: str = "",
    deep: bool = False,
    progress: Callable[[int], None] | None = None,
) -> list[Located]:
    """The events that have the id, in the first place where there is one. Raises NotFound.

    Events of several sources, and of several domains, may have it; `source` asks for those of one.
    `near` (`domain/entry`) may name the entry. An id that emit made tells when that was. An id that
    was given is registered with its entry, and a row of the matrix names it. Without these, a
    UUIDv7 tells when it was made. At last the newest events are read, for one event. What is read
    is bounded, however long the logs are; `deep` reads all of them. `progress` is called with the
    number of events read.
    """
    domains = sorted(backend.event_log.domains())
    wanted = Wanted(event_id, source)
    reading = Reading(deep=deep, progress=progress)
    for events in _places(backend, records, domains, wanted, near, reading):
        found: dict[tuple[str, str], Located] = {}
        for one in events:
            found.setdefault((one.domain, one.event.source), one)
        if found:
            return list(found.values())
    raise EventNotFound(_not_found(wanted, domains, reading), is_partial=reading.is_partial)


def locate_entry(event_log: EventLog, domain: str, entry: str) -> Located:
    """The event of an entry. Raises EventNotFound where the log does not have it, InvalidEvent."""
    found = event_log.read(domain, start=entry, end=entry, count=1) if is_entry(entry) else []
    if not found or found[0].body is None:
        text = f"no entry {entry} in the log of {domain}; it was trimmed, or never there"
        raise EventNotFound(text, is_partial=False)
    return _in_log(domain, found[0], found[0].body)


def _not_found(wanted: Wanted, domains: Sequence[str], reading: Reading) -> str:
    named = listed(domains) or "any domain"
    whose = "" if wanted.source is None else f" of the source {wanted.source}"
    text = f"no event {wanted.id}{whose} in the logs of {named}"
    if not reading.is_partial:
        return f"{text}; it was never emitted here, or trimmed since (CELERIAC_RETENTION)"
    return (
        f"{text}, where the records of the handlers and {reading.entries:,} events were looked at. "
        f"To read all of them: celeriac status {wanted.id} --deep"
    )


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events: those with the id, of the source if it is given."""

    id: str
    source: str | None = None

    def is_in(self, domain: str, body: bytes | None) -> bool:
        try:
            event = read_header(body, domain) if body is not None else None
        except InvalidEvent:
            return False
        return event is not None and event.id == self.id and self.source in (None, event.source)


def _places(
    backend: Backend,
    records: Sequence[HandlerRecord],
    domains: Sequence[str],
    wanted: Wanted,
    near: str,
    reading: Reading,
) -> Iterator[Iterable[Located]]:
    """The wanted events of each place, those of the cheaper places first."""
    event_log = backend.event_log
    domain, _, entry = near.rpartition("/")
    if domain in domains and is_entry(entry):
        yield _at(event_log, domain, (entry,), wanted)
    at = id_time_ms(wanted.id)
    if made_ms(wanted.id):
        yield _around(event_log, domains, made_ms(wanted.id), WINDOWS_MS[0], wanted, reading)
    yield _by_records(backend, records, domains, wanted)
    if at is not None:
        for window in WINDOWS_MS:
            reading.begin()
            yield _around(event_log, domains, at, window, wanted, reading)
    reading.begin()
    yield _postponed(event_log, domains, wanted, reading)
    reading.begin()
    yield islice(_newest(event_log, domains, wanted, reading), 1)


def _at(
    event_log: EventLog, domain: str, entries: Iterable[str], wanted: Wanted
) -> Iterator[Located]:
    for entry in entries:
        yield from _wanted(domain, event_log.read(domain, start=entry, end=entry, count=1), wanted)


def _by_records(
    backend: Backend, records: Sequence[HandlerRecord], domains: Sequence[str], wanted: Wanted
) -> Iterator[Located]:
    """Where the event's key is registered, or a handler has a row of it."""
    for domain in domains:
        known = [wanted.source] if wanted.source is not None else backend.deliveries.sources(domain)
        keys = [event_key(wanted.id, source) for source in known]
        if not keys:
            continue
        entries = [
            entry for entry in backend.event_log.registered(domain, keys) if entry is not None
        ]
        for stand in stands(backend.event_log, records, domain):
            rows = backend.deliveries.rows(stand.group, keys)
            entries += [row.entry for row in rows if row is not None]
        yield from _at(backend.event_log, domain, dict.fromkeys(entries), wanted)


def _around(
    event_log: EventLog,
    domains: Sequence[str],
    at_ms: int,
    window_ms: int,
    wanted: Wanted,
    reading: Reading,
) -> Iterator[Located]:
    for domain in domains:
        # Forwards from its time first: an event enters the log after it was made.
        spans = ((at_ms, at_ms + window_ms, False), (max(0, at_ms - window_ms), at_ms - 1, True))
        for start, end, newest_first in spans:
            for some in reading.pages(event_log, domain, str(start), str(end), newest_first):
                yield from _wanted(domain, some, wanted)


def entries_near_ids(event_log: EventLog, domain: str, ids: Mapping[str, str]) -> dict[str, str]:
    """Return event key → entry of events whose ids `emit` made, where the entry is of that time.

    `ids` maps event keys to ids. Reads at most MAX_ENTRIES entries.
    """
    reading = Reading(deep=False)
    found: dict[str, str] = {}
    for wanted, id in sorted(ids.items(), key=lambda item: item[1]):
        at = made_ms(id)
        if not at or wanted in found:
            continue
        for some in reading.pages(event_log, domain, str(at), str(at + WINDOWS_MS[0]), False):
            for entry in some:
                key = _key_of(entry, domain)
                if key in ids:
                    found.setdefault(key, entry.id)
    return found


def _key_of(entry: Entry, domain: str) -> str:
    try:
        return read_header(entry.body or b"", domain).key
    except InvalidEvent:
        return ""


def _newest(
    event_log: EventLog, domains: Sequence[str], wanted: Wanted, reading: Reading
) -> Iterator[Located]:
    for domain in domains:
        for some in reading.pages(event_log, domain, "-", "+", newest_first=True):
            yield from _wanted(domain, some, wanted)


def _postponed(
    event_log: EventLog, domains: Sequence[str], wanted: Wanted, reading: Reading
) -> Iterator[Located]:
    for domain in domains:
        for time_ms, body in reading.upcoming(event_log, domain):
            if wanted.is_in(domain, body):
                yield Located(
                    domain=domain,
                    entry=None,
                    place="postponed",
                    time_ms=time_ms,
                    event=decode(body),
                )


def _wanted(domain: str, entries: Iterable[Entry], wanted: Wanted) -> Iterator[Located]:
    for entry in entries:
        if entry.body is not None and wanted.is_in(domain, entry.body):
            yield _in_log(domain, entry, entry.body)


def _in_log(domain: str, entry: Entry, body: bytes) -> Located:
    return Located(
        domain=domain,
        entry=entry.id,
        place="log",
        time_ms=entry.time_ms,
        event=decode(body),
        kind=entry.kind,
    )
