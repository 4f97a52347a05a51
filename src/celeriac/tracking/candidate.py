"""Where a search looks: only at entries that can be in the state that is asked for."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from celeriac.delivery import DeliveryState, DeliveryStore, Group
from celeriac.event_log import EntryKind, EventLog, GroupInfo, entry_key, entry_time_ms
from celeriac.event_log.open_chunk import OpenChunk
from celeriac.registry import HandlerRecord
from celeriac.store.factory import Backend
from celeriac.tracking.position import stands
from celeriac.tracking.state import IN_FLIGHT, state_of
from celeriac.transfer import FIRST_PAGE, next_page

READ = 200  # entries of one domain at a time, at most: see transfer.py
PENDING = 1000  # deliveries of one holder at a time
FIRST_WINDOW_MS = 1000
# States that an entry has only behind the position of the consumer group.
BEHIND = frozenset(
    {DeliveryState.PROCESSED, DeliveryState.SKIPPED, DeliveryState.COALESCED, DeliveryState.IGNORED}
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """An entry that may fit. `at` is its place in the order of the search: the entry's id, or the
    dead letter's where dead letters are read."""

    domain: str
    entry: str
    body: bytes | None
    at: str
    kind: EntryKind = EntryKind.MADE

    @property
    def key(self) -> tuple[tuple[int, int], str]:
        return entry_key(self.at), self.domain


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Which part is searched: times in ms, and the cursor `domain/id` to go on behind."""

    since_ms: int | None = None
    until_ms: int | None = None
    before: str = ""

    @property
    def first(self) -> str:
        return "-" if self.since_ms is None else str(self.since_ms)

    def last(self, domain: str) -> str:
        """Where the log of the domain is read from, backwards."""
        reached, _, bound = self.before.rpartition("/")
        if bound:
            return f"({bound}" if domain >= reached else bound
        return "+" if self.until_ms is None else str(self.until_ms)

    def past(self, domain: str, id: str) -> bool:
        """Whether the cursor has an entry of this id still before it."""
        reached, _, bound = self.before.rpartition("/")
        return not bound or (entry_key(id), domain) < (entry_key(bound), reached)

    def has(self, entry: str) -> bool:
        time_ms = entry_time_ms(entry)
        return (self.since_ms is None or time_ms >= self.since_ms) and (
            self.until_ms is None or time_ms <= self.until_ms
        )


def candidates(
    backend: Backend,
    chosen: Sequence[HandlerRecord],
    domains: Sequence[str],
    state: DeliveryState | None,
    span: Span,
) -> Iterator[Candidate]:
    """Entries that may have a cell of a chosen handler in that state, newest first.

    Dead letters come in the order in which they died; an event that two handlers gave up comes
    once for each. Reads Redis as it is consumed.
    """
    names = frozenset(record.id for record in chosen)

    def of(domain: str) -> Iterator[Candidate]:
        if state is DeliveryState.DEAD:
            return _dead(backend.deliveries, domain, names, span)
        if state is DeliveryState.WAITING:
            return _ahead(backend.event_log, chosen, domain, span)
        if state is not None and state in IN_FLIGHT:
            return _held(backend, chosen, domain, state, span)
        if state is not None and state in BEHIND:
            return _behind(backend.event_log, chosen, domain, span)
        return _logged(backend.event_log, domain, span.first, span.last(domain))

    return heapq.merge(*map(of, domains), key=lambda one: one.key, reverse=True)


def _logged(event_log: EventLog, domain: str, start: str, end: str) -> Iterator[Candidate]:
    count = FIRST_PAGE
    while some := event_log.read(domain, start=start, end=end, count=count, newest_first=True):
        end = f"({some[-1].id}"
        yield from (Candidate(domain, one.id, one.body, one.id, one.kind) for one in some)
        if len(some) < count:
            return
        count = next_page([len(entry.body or b"") for entry in some], READ)


def _ahead(
    event_log: EventLog, chosen: Sequence[HandlerRecord], domain: str, span: Span
) -> Iterator[Candidate]:
    """What is newer than the last entry that the slowest handler was given."""
    starts = [
        "0-0" if stand.info is None else stand.info.last_delivered
        for stand in stands(event_log, chosen, domain)
        if stand.info is not None or stand.since is None
    ]
    if not starts:
        return
    slowest = min(starts, key=entry_key)
    since = span.since_ms
    started = since is None or entry_key(slowest) >= (since, 0)
    yield from _logged(
        event_log, domain, f"({slowest}" if started else span.first, span.last(domain)
    )


def _behind(
    event_log: EventLog, chosen: Sequence[HandlerRecord], domain: str, span: Span
) -> Iterator[Candidate]:
    """What the group that is furthest ahead was given: however much waits, it is not read."""
    groups = [stand.info for stand in stands(event_log, chosen, domain) if stand.info is not None]
    positions = [info.last_delivered for info in groups]
    if positions:
        end = _earlier(span.last(domain), max(positions, key=entry_key))
        yield from _logged(event_log, domain, span.first, end)


def _earlier(end: str, position: str) -> str:
    """Return the earlier one of two ends of a reading; the first may be `+`, a time or `(id`."""
    if end == "+":
        return position
    bound = end.removeprefix("(")
    # A time includes all of its millisecond, whose entries are behind an id of the same one.
    key = entry_key(bound) if "-" in bound else (int(bound) + 1, -1)
    return end if key <= entry_key(position) else position


def _dead(
    deliveries: DeliveryStore, domain: str, handlers: frozenset[str], span: Span
) -> Iterator[Candidate]:
    after, count = "", FIRST_PAGE
    reached, _, bound = span.before.rpartition("/")
    if bound:
        ms, sequence = entry_key(bound)
        after = bound if domain >= reached else f"{ms}-{sequence + 1}"
    while some := deliveries.dead(domain, after=after, count=count, newest_first=True):
        for letter in some:
            if span.since_ms is not None and entry_time_ms(letter.id) < span.since_ms:
                return  # it cannot have died before it was emitted
            fits = letter.handler in handlers and bool(letter.entry) and span.has(letter.entry)
            # One that does not fit counts as read all the same.
            yield Candidate(domain, letter.entry, letter.event if fits else None, letter.id)
        if len(some) < count:
            return
        after = some[-1].id
        count = next_page([len(letter.event) for letter in some], READ)


def _held(
    backend: Backend,
    chosen: Sequence[HandlerRecord],
    domain: str,
    state: DeliveryState,
    span: Span,
) -> Iterator[Candidate]:
    """Entries that a holder has in that state: only the holders' own are read."""
    there = [
        (stand.group, stand.info)
        for stand in stands(backend.event_log, chosen, domain)
        if stand.info is not None
    ]
    held = [
        _of_chunk(backend.event_log, domain, chunk, span)
        for _, info in there
        for chunk in info.chunks
        if state_of(chunk.owner) is state
    ]
    held += [
        _of_holder(backend, group, info, owner, count, span)
        for group, info in there
        for owner, count in info.holders.items()
        if count and state_of(owner) is state
    ]
    previous = ""
    for candidate in heapq.merge(*held, key=lambda one: entry_key(one.entry), reverse=True):
        if candidate.entry != previous and span.past(domain, candidate.entry):
            previous = candidate.entry
            yield candidate


def _of_chunk(
    event_log: EventLog, domain: str, chunk: OpenChunk, span: Span
) -> Iterator[Candidate]:
    """The entries of an open chunk, newest first."""
    end = _earlier(span.last(domain), chunk.upto)
    for candidate in _logged(event_log, domain, f"({chunk.after}", end):
        if not span.has(candidate.entry):
            return
        yield candidate


def _of_holder(
    backend: Backend, group: Group, info: GroupInfo, owner: str, count: int, span: Span
) -> Iterator[Candidate]:
    """The pending entries of one holder, newest first."""
    for entry in _pending_of(backend.deliveries, group, info, owner, count, span):
        found = backend.event_log.read(group.domain, start=entry, end=entry, count=1)
        body, kind = (found[0].body, found[0].kind) if found else (None, EntryKind.MADE)
        yield Candidate(group.domain, entry, body, entry, kind)


def _pending_of(
    deliveries: DeliveryStore, group: Group, info: GroupInfo, owner: str, count: int, span: Span
) -> Iterator[str]:
    """The pending entries of one holder, newest first.

    Redis lists pending entries forwards only. So they are read by windows of time, whose width
    follows how dense they are; one window is enough where the holder has few.
    """
    oldest = entry_time_ms(info.oldest_pending or "0-0")
    newest = entry_time_ms(info.last_delivered)
    _, _, bound = span.before.rpartition("/")
    if bound:
        newest = min(newest, entry_time_ms(bound))
    if span.until_ms is not None:
        newest = min(newest, span.until_ms)
    if span.since_ms is not None:
        oldest = max(oldest, span.since_ms)
    width = FIRST_WINDOW_MS if count >= PENDING else newest - oldest + 1
    while newest >= oldest:
        first = max(oldest, newest - width + 1)
        some = deliveries.pending_between(group, str(first), str(newest), PENDING, owner=owner)
        if len(some) == PENDING and first < newest:
            width = max(1, (newest - first + 1) // 8)
            continue
        entries = [pending.entry for pending in some]
        while len(some) == PENDING:  # more than that in one millisecond
            last = f"({some[-1].entry}"
            some = deliveries.pending_between(group, last, str(newest), PENDING, owner=owner)
            entries += (pending.entry for pending in some)
        yield from reversed(entries)
        newest = first - 1
        if len(entries) < PENDING // 4:
            width *= 4
