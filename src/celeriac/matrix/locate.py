"""Finding events by their id, which no index holds: where one is likely first, then everywhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from celeriac.errors import InvalidEvent, NotFound
from celeriac.event import decode, event_key, id_time_ms, peek
from celeriac.log import Entry, EventLog, is_entry
from celeriac.matrix.cell import Located
from celeriac.matrix.stand import stands
from celeriac.registry import HandlerRecord
from celeriac.subscription import Backend

PAGE = 1000
# How far the clock of a producer may be off; the first is the usual case, and cheap.
WINDOWS_MS = (2_000, 300_000)


def locate(
    backend: Backend,
    records: Sequence[HandlerRecord],
    event_id: str,
    *,
    source: str | None = None,
    near: str = "",
    everywhere: bool = True,
) -> list[Located]:
    """The events that have the id, in the first place where there is one. Raises NotFound.

    Events of several sources, and of several domains, may have it; `source` asks for those of one.
    `near` (`domain/entry`) may name the entry. A row of the matrix does. Without one, a UUIDv7
    tells when it was emitted. At last `everywhere` is read, newest first, for one event.
    """
    domains = sorted(backend.log.domains())
    wanted = Wanted(event_id, source)
    for events in _places(backend, records, domains, wanted, near, everywhere=everywhere):
        found: dict[tuple[str, str], Located] = {}
        for one in events:
            found.setdefault((one.domain, one.event.source), one)
        if found:
            return list(found.values())
    where = f"in the logs of {', '.join(domains) or 'any domain'}"
    whose = "" if source is None else f" of the source {source}"
    raise NotFound(
        f"no event {event_id}{whose} {where}; it was never emitted here, or trimmed since "
        "(CELERIAC_RETENTION)"
        if everywhere
        else f"no event {event_id}{whose} where it would be likely {where}"
    )


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events: those with the id, of the source if it is given."""

    id: str
    source: str | None = None

    def is_in(self, domain: str, body: bytes | None) -> bool:
        try:
            event = peek(body, domain) if body is not None else None
        except InvalidEvent:
            return False
        return event is not None and event.id == self.id and self.source in (None, event.source)


def _places(
    backend: Backend,
    records: Sequence[HandlerRecord],
    domains: Sequence[str],
    wanted: Wanted,
    near: str,
    *,
    everywhere: bool,
) -> Iterator[Iterable[Located]]:
    """The wanted events of each place, those of the cheaper places first."""
    log = backend.log
    domain, _, entry = near.rpartition("/")
    if domain in domains and is_entry(entry):
        yield _at(log, domain, (entry,), wanted)
    yield _by_rows(backend, records, domains, wanted)
    at = id_time_ms(wanted.id)
    if at is not None:
        for window in WINDOWS_MS:
            yield _around(log, domains, at, window, wanted)
    yield _postponed(log, domains, wanted)
    if everywhere:
        yield islice(_everywhere(log, domains, wanted), 1)


def _at(log: EventLog, domain: str, entries: Iterable[str], wanted: Wanted) -> Iterator[Located]:
    for entry in entries:
        yield from _wanted(domain, log.read(domain, start=entry, end=entry, count=1), wanted)


def _by_rows(
    backend: Backend, records: Sequence[HandlerRecord], domains: Sequence[str], wanted: Wanted
) -> Iterator[Located]:
    for domain in domains:
        known = [wanted.source] if wanted.source is not None else backend.ledger.sources(domain)
        keys = [event_key(wanted.id, source) for source in known]
        if not keys:
            continue
        rows = [
            row
            for stand in stands(backend.log, records, domain)
            for row in backend.ledger.rows(stand.lane, keys)
            if row is not None
        ]
        yield from _at(backend.log, domain, dict.fromkeys(row.entry for row in rows), wanted)


def _around(
    log: EventLog, domains: Sequence[str], at_ms: int, window_ms: int, wanted: Wanted
) -> Iterator[Located]:
    for domain in domains:
        start, end = str(max(0, at_ms - window_ms)), str(at_ms + window_ms)
        while some := log.read(domain, start=start, end=end, count=PAGE):
            yield from _wanted(domain, some, wanted)
            start = f"({some[-1].id}"


def _everywhere(log: EventLog, domains: Sequence[str], wanted: Wanted) -> Iterator[Located]:
    for domain in domains:
        end = "+"
        while some := log.read(domain, end=end, count=PAGE, newest_first=True):
            yield from _wanted(domain, some, wanted)
            end = f"({some[-1].id}"


def _postponed(log: EventLog, domains: Sequence[str], wanted: Wanted) -> Iterator[Located]:
    for domain in domains:
        start = 0
        while some := log.upcoming(domain, start=start, count=PAGE):
            for time_ms, body in some:
                if wanted.is_in(domain, body):
                    yield Located(
                        domain=domain,
                        entry=None,
                        place="postponed",
                        time_ms=time_ms,
                        event=decode(body),
                    )
            start += PAGE


def _wanted(domain: str, entries: Iterable[Entry], wanted: Wanted) -> Iterator[Located]:
    for entry in entries:
        if entry.body is not None and wanted.is_in(domain, entry.body):
            yield _in_log(domain, entry, entry.body)


def _in_log(domain: str, entry: Entry, body: bytes) -> Located:
    return Located(
        domain=domain, entry=entry.id, place="log", time_ms=entry.time_ms, event=decode(body)
    )
