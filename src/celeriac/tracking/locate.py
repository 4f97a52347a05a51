"""Find events by id without an index: first where they are likely, then everywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

import msgspec

from celeriac.errors import InvalidEvent, NotFound
from celeriac.event import decode, event_key, id_time_ms, made_ms, read_header
from celeriac.event_log import Entry, EventLog, is_entry
from celeriac.registry import HandlerRecord
from celeriac.store.factory import Backend
from celeriac.tracking.cell import Located
from celeriac.tracking.position import group_positions
from celeriac.tracking.reading import LogReader
from celeriac.visible import listed

# Differences between the time in an id and that of the entry: an emit takes time, and a producer's
# clock can be wrong. The first is usual and cheap.
USUAL_SKEW_MS, MAX_SKEW_MS = 20, 300_000
SAMPLE = 10  # entries at each end of a log whose sources are tried


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
    """Return the events with the id, from the first search that has any. Raises NotFound.

    Several sources and domains can use the same id; `source` selects one source. `near`
    (`domain/entry`) names a likely entry. An id that emit created contains its time. An id that was
    given is registered with its entry, and rows of the delivery store have it. Otherwise, the time
    in a UUIDv7 is used, then delayed events, then the newest events. The number of events read is
    bounded by five times MAX_ENTRIES, independent of the size of the logs; `deep` reads all.
    `progress` is called with the number of events read.
    """
    domains = sorted(backend.event_log.domains())
    wanted = Wanted(event_id, source)
    reading = LogReader(deep=deep, progress=progress)
    for events in _searches(backend, records, domains, wanted, near, reading):
        by_domain: dict[tuple[str, str], Located] = {}
        for located in events:
            by_domain.setdefault((located.domain, located.event.source), located)
        if by_domain:
            return list(by_domain.values())
    raise EventNotFound(_not_found(wanted, domains, reading), is_partial=reading.is_partial)


def locate_entry(event_log: EventLog, domain: str, entry: str) -> Located:
    """Return the event of an entry. Raises EventNotFound if it is not in the log, InvalidEvent."""
    entries = event_log.read(domain, start=entry, end=entry, count=1) if is_entry(entry) else []
    if not entries or entries[0].body is None:
        text = f"entry not found: {entry} of {domain}. It was trimmed, or the id is wrong."
        raise EventNotFound(text, is_partial=False)
    return _in_log(domain, entries[0], entries[0].body)


def _not_found(wanted: Wanted, domains: Sequence[str], reading: LogReader) -> str:
    named = listed(domains) or "any domain"
    of_source = "" if wanted.source is None else f" of the source {wanted.source}"
    text = f"event not found: {wanted.id}{of_source} in the logs of {named}"
    if not reading.is_partial:
        return f"{text}. It was never emitted here, or trimmed (CELERIAC_RETENTION)."
    return (
        f"{text}; the handlers' records and {reading.entries:,} events were searched. "
        f"Search all events with `celeriac status {wanted.id} --deep`."
    )


@dataclass(frozen=True)
class Wanted:
    """The event to find: its id, and its source if given."""

    id: str
    source: str | None = None

    @cached_property
    def _text(self) -> bytes:
        return msgspec.json.encode(self.id)[1:-1]

    def is_in(self, domain: str, body: bytes | None) -> bool:
        # Parsing thousands of events is most of a search. JSON can write the id otherwise only with
        # escapes.
        if body is None or (self._text not in body and b"\\" not in body):
            return False
        try:
            event = read_header(body, domain)
        except InvalidEvent:
            return False
        return event.id == self.id and self.source in (None, event.source)


def _searches(
    backend: Backend,
    records: Sequence[HandlerRecord],
    domains: Sequence[str],
    wanted: Wanted,
    near: str,
    reading: LogReader,
) -> Iterator[Iterable[Located]]:
    """Yield the results of each search, the cheapest search first."""
    event_log = backend.event_log
    domain, _, entry = near.rpartition("/")
    if domain in domains and is_entry(entry):
        yield _at(event_log, domain, (entry,), wanted)
    at = id_time_ms(wanted.id)
    if at is not None and made_ms(wanted.id):
        for first_ms, last_ms in ((at, at + USUAL_SKEW_MS), (at - 1, at - USUAL_SKEW_MS)):
            yield _between(event_log, domains, first_ms, last_ms, wanted, reading)
    if wanted.source is not None:
        yield _by_records(backend, records, dict.fromkeys(domains, (wanted.source,)), wanted)
    else:
        noted = {domain: backend.deliveries.sources(domain) for domain in domains}
        yield _by_records(backend, records, noted, wanted)
        # Handlers note the sources of the events that they fetch. The event can still be waiting.
        yield _by_records(backend, records, _other_sources(event_log, noted), wanted)
    if at is not None:
        # An event is appended after its id was created, unless a clock is wrong.
        for first_ms, last_ms in ((at, at + MAX_SKEW_MS), (at - 1, at - MAX_SKEW_MS)):
            reading.begin()
            yield _between(event_log, domains, first_ms, last_ms, wanted, reading)
    reading.begin()
    yield _delayed(event_log, domains, wanted, reading)
    reading.begin()
    yield islice(_newest(event_log, domains, wanted, reading), 1)


def _at(
    event_log: EventLog, domain: str, entries: Iterable[str], wanted: Wanted
) -> Iterator[Located]:
    for entry in entries:
        yield from _wanted(domain, event_log.read(domain, start=entry, end=entry, count=1), wanted)


def _by_records(
    backend: Backend,
    records: Sequence[HandlerRecord],
    sources: Mapping[str, Sequence[str]],
    wanted: Wanted,
) -> Iterator[Located]:
    """Yield the events whose key is registered or in a handler's row.

    `sources` has the sources to try in each domain.
    """
    for domain, names in sources.items():
        keys = [event_key(wanted.id, name) for name in names]
        if not keys:
            continue
        entries = [
            entry for entry in backend.event_log.registered(domain, keys) if entry is not None
        ]
        for position in group_positions(backend.event_log, records, domain):
            rows = backend.deliveries.rows(position.group, keys)
            entries += [row.entry for row in rows if row is not None]
        yield from _at(backend.event_log, domain, dict.fromkeys(entries), wanted)


def _other_sources(
    event_log: EventLog, noted: Mapping[str, Sequence[str]]
) -> dict[str, Sequence[str]]:
    """Return the sources of the newest and oldest entries of each domain, without noted ones."""
    others: dict[str, Sequence[str]] = {}
    for domain, names in noted.items():
        sampled = {
            source
            for newest_first in (True, False)
            for entry in event_log.read(domain, count=SAMPLE, newest_first=newest_first)
            for source in _source_of(entry, domain)
        }
        others[domain] = sorted(sampled.difference(names))
    return others


def _source_of(entry: Entry, domain: str) -> Iterator[str]:
    with suppress(InvalidEvent):
        yield read_header(entry.body or b"", domain).source


def _between(
    event_log: EventLog,
    domains: Sequence[str],
    first_ms: int,
    last_ms: int,
    wanted: Wanted,
    reading: LogReader,
) -> Iterator[Located]:
    """Yield the events with the id in a span of time, read from `first_ms` on, maybe backwards."""
    newest_first = last_ms < first_ms
    start, end = (str(max(0, ms)) for ms in sorted((first_ms, last_ms)))
    for domain in domains:
        for some in reading.pages(event_log, domain, start, end, newest_first):
            yield from _wanted(domain, some, wanted)


def entries_near_ids(event_log: EventLog, domain: str, ids: Mapping[str, str]) -> dict[str, str]:
    """Return the entries of events by key, for ids that `emit` created at the time of the entry.

    `ids` maps event keys to ids. Reads at most MAX_ENTRIES entries.
    """
    reading = LogReader(deep=False)
    entries: dict[str, str] = {}
    for wanted, id in sorted(ids.items(), key=lambda item: item[1]):
        at = made_ms(id)
        if not at or wanted in entries:
            continue
        for page in reading.pages(event_log, domain, str(at), str(at + USUAL_SKEW_MS), False):
            for entry in page:
                key = _key_of(entry, domain)
                if key in ids:
                    entries.setdefault(key, entry.id)
    return entries


def _key_of(entry: Entry, domain: str) -> str:
    try:
        return read_header(entry.body or b"", domain).key
    except InvalidEvent:
        return ""


def _newest(
    event_log: EventLog, domains: Sequence[str], wanted: Wanted, reading: LogReader
) -> Iterator[Located]:
    for domain in domains:
        for some in reading.pages(event_log, domain, "-", "+", newest_first=True):
            yield from _wanted(domain, some, wanted)


def _delayed(
    event_log: EventLog, domains: Sequence[str], wanted: Wanted, reading: LogReader
) -> Iterator[Located]:
    for domain in domains:
        for time_ms, body in reading.upcoming(event_log, domain):
            if wanted.is_in(domain, body):
                yield Located(
                    domain=domain,
                    entry=None,
                    location="delayed",
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
        location="log",
        time_ms=entry.time_ms,
        event=decode(body),
        kind=entry.kind,
    )
