"""Finding one event by its id, which no index holds: where it is likely first, then everywhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from celeriac.errors import InvalidEvent, NotFound
from celeriac.event import decode, id_time_ms, peek
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
    near: str = "",
    everywhere: bool = True,
) -> Located:
    """The event. Raises NotFound.

    `near` (`domain/entry`) may name the entry. A row of the matrix does. Without one, a UUIDv7
    tells when it was emitted. At last `everywhere` is read, newest first.
    """
    log = backend.log
    domains = sorted(log.domains())
    for candidates in _candidates(backend, records, domains, event_id, near):
        for domain, entry in candidates:
            if entry.body is not None and _id_of(domain, entry.body) == event_id:
                return _in_log(domain, entry, entry.body)
    found = _postponed(log, domains, event_id)
    if found is None and everywhere:
        found = _everywhere(log, domains, event_id)
    if found is None:
        where = f"in the logs of {', '.join(domains) or 'any domain'}"
        raise NotFound(
            f"no event {event_id} {where}; it was never emitted here, or trimmed since "
            "(CELERIAC_RETENTION)"
            if everywhere
            else f"no event {event_id} where it would be likely {where}"
        )
    return found


def _candidates(
    backend: Backend,
    records: Sequence[HandlerRecord],
    domains: Sequence[str],
    event_id: str,
    near: str,
) -> Iterator[Iterator[tuple[str, Entry]]]:
    domain, _, entry = near.rpartition("/")
    if domain in domains and is_entry(entry):
        there = backend.log.read(domain, start=entry, end=entry, count=1)
        yield ((domain, one) for one in there)
    yield _by_rows(backend, records, domains, event_id)
    at = id_time_ms(event_id)
    if at is not None:
        for window in WINDOWS_MS:
            yield _around(backend.log, domains, at, window)


def _by_rows(
    backend: Backend, records: Sequence[HandlerRecord], domains: Sequence[str], event_id: str
) -> Iterator[tuple[str, Entry]]:
    for domain in domains:
        for stand in stands(backend.log, records, domain):
            row = backend.ledger.rows(stand.lane, [event_id])[0]
            if row is not None:
                for entry in backend.log.read(domain, start=row.entry, end=row.entry, count=1):
                    yield domain, entry


def _around(
    log: EventLog, domains: Sequence[str], at_ms: int, window_ms: int
) -> Iterator[tuple[str, Entry]]:
    for domain in domains:
        start, end = str(max(0, at_ms - window_ms)), str(at_ms + window_ms)
        while some := log.read(domain, start=start, end=end, count=PAGE):
            yield from ((domain, entry) for entry in some)
            start = f"({some[-1].id}"


def _everywhere(log: EventLog, domains: Sequence[str], event_id: str) -> Located | None:
    for domain in domains:
        end = "+"
        while some := log.read(domain, end=end, count=PAGE, newest_first=True):
            for entry in some:
                if entry.body is not None and _id_of(domain, entry.body) == event_id:
                    return _in_log(domain, entry, entry.body)
            end = f"({some[-1].id}"
    return None


def _postponed(log: EventLog, domains: Sequence[str], event_id: str) -> Located | None:
    for domain in domains:
        start = 0
        while some := log.upcoming(domain, start=start, count=PAGE):
            for time_ms, body in some:
                if _id_of(domain, body) == event_id:
                    return Located(
                        domain=domain,
                        entry=None,
                        place="postponed",
                        time_ms=time_ms,
                        event=decode(body),
                    )
            start += PAGE
    return None


def _in_log(domain: str, entry: Entry, body: bytes) -> Located:
    return Located(
        domain=domain, entry=entry.id, place="log", time_ms=entry.time_ms, event=decode(body)
    )


def _id_of(domain: str, body: bytes) -> str | None:
    try:
        return peek(body, domain).id
    except InvalidEvent:
        return None
