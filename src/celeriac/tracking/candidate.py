"""Narrow a search to the entries that can have the state."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from celeriac.delivery import DeliveryState, DeliveryStore, Group
from celeriac.event_log import EntryKind, EventLog, GroupInfo, entry_key, entry_time_ms
from celeriac.event_log.open_chunk import OpenChunk
from celeriac.registry import HandlerRecord
from celeriac.store.factory import Backend
from celeriac.tracking.position import group_positions
from celeriac.tracking.state import IN_FLIGHT, state_of
from celeriac.transfer import FIRST_PAGE, next_page

READ = 200  # maximum entries of one domain in one read: see transfer.py
PENDING = 1000  # maximum deliveries of one owner in one read
FIRST_WINDOW_MS = 1000
# States of entries before the position of the consumer group only.
BEHIND = frozenset(
    {DeliveryState.PROCESSED, DeliveryState.SKIPPED, DeliveryState.COALESCED, DeliveryState.IGNORED}
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """An entry that can match.

    `at` is its position in the search order: the entry's id, or the dead letter's id.
    """

    domain: str
    entry: str
    body: bytes | None
    at: str
    kind: EntryKind = EntryKind.MADE

    @property
    def key(self) -> tuple[tuple[int, int], str]:
        return entry_key(self.at), self.domain


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRange:
    """The range of a search: times in ms, and the cursor `domain/id` to continue after."""

    since_ms: int | None = None
    until_ms: int | None = None
    before: str = ""

    @property
    def first(self) -> str:
        return "-" if self.since_ms is None else str(self.since_ms)

    def last(self, domain: str) -> str:
        """Return the id from which the domain's log is read, backwards."""
        reached, _, bound = self.before.rpartition("/")
        if bound:
            return f"({bound}" if domain >= reached else bound
        return "+" if self.until_ms is None else str(self.until_ms)

    def past(self, domain: str, id: str) -> bool:
        """Return whether an entry with this id is after the cursor in search order."""
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
    span: SearchRange,
) -> Iterator[Candidate]:
    """Yield the entries that can have a delivery of a chosen handler in the state, newest first.

    Dead letters are ordered by the time of their failure; an event that is dead for two handlers is
    yielded twice. Reads Redis as it is consumed.
    """
    names = frozenset(record.id for record in chosen)

    def of(domain: str) -> Iterator[Candidate]:
        if state is DeliveryState.DEAD:
            return _dead(backend.deliveries, domain, names, span)
        if state is DeliveryState.WAITING:
            return _ahead(backend.event_log, chosen, domain, span)
        if state is not None and state in IN_FLIGHT:
            return _in_flight(backend, chosen, domain, state, span)
        if state is not None and state in BEHIND:
            return _behind(backend.event_log, chosen, domain, span)
        return _logged(backend.event_log, domain, span.first, span.last(domain))

    return heapq.merge(*map(of, domains), key=lambda candidate: candidate.key, reverse=True)


def _logged(event_log: EventLog, domain: str, start: str, end: str) -> Iterator[Candidate]:
    count = FIRST_PAGE
    while entries := event_log.read(domain, start=start, end=end, count=count, newest_first=True):
        end = f"({entries[-1].id}"
        yield from (
            Candidate(domain, entry.id, entry.body, entry.id, entry.kind) for entry in entries
        )
        if len(entries) < count:
            return
        count = next_page([len(entry.body or b"") for entry in entries], READ)


def _ahead(
    event_log: EventLog, chosen: Sequence[HandlerRecord], domain: str, span: SearchRange
) -> Iterator[Candidate]:
    """Yield the entries after the position of the slowest handler."""
    starts = [
        "0-0" if position.info is None else position.info.last_delivered
        for position in group_positions(event_log, chosen, domain)
        if position.info is not None or position.since is None
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
    event_log: EventLog, chosen: Sequence[HandlerRecord], domain: str, span: SearchRange
) -> Iterator[Candidate]:
    """Yield the entries up to the position of the fastest handler, without the backlog."""
    groups = [
        position.info
        for position in group_positions(event_log, chosen, domain)
        if position.info is not None
    ]
    positions = [info.last_delivered for info in groups]
    if positions:
        end = _earlier(span.last(domain), max(positions, key=entry_key))
        yield from _logged(event_log, domain, span.first, end)


def _earlier(end: str, position: str) -> str:
    """Return the earlier of two ends of a range; the first can be `+`, a time or `(id`."""
    if end == "+":
        return position
    bound = end.removeprefix("(")
    # A time includes its full millisecond, so it ends after every entry of it.
    key = entry_key(bound) if "-" in bound else (int(bound) + 1, -1)
    return end if key <= entry_key(position) else position


def _dead(
    deliveries: DeliveryStore, domain: str, handlers: frozenset[str], span: SearchRange
) -> Iterator[Candidate]:
    after, count = "", FIRST_PAGE
    reached, _, bound = span.before.rpartition("/")
    if bound:
        ms, sequence = entry_key(bound)
        after = bound if domain >= reached else f"{ms}-{sequence + 1}"
    while dead_letters := deliveries.dead(domain, after=after, count=count, newest_first=True):
        for dead_letter in dead_letters:
            if span.since_ms is not None and entry_time_ms(dead_letter.id) < span.since_ms:
                return  # it cannot have failed before it was emitted
            fits = (
                dead_letter.handler in handlers
                and bool(dead_letter.entry)
                and span.has(dead_letter.entry)
            )
            # Entries that do not match count as read, too.
            yield Candidate(
                domain, dead_letter.entry, dead_letter.event if fits else None, dead_letter.id
            )
        if len(dead_letters) < count:
            return
        after = dead_letters[-1].id
        count = next_page([len(dead_letter.event) for dead_letter in dead_letters], READ)


def _in_flight(
    backend: Backend,
    chosen: Sequence[HandlerRecord],
    domain: str,
    state: DeliveryState,
    span: SearchRange,
) -> Iterator[Candidate]:
    """Yield the entries of deliveries in that state, from the owners that have such deliveries."""
    groups = [
        (position.group, position.info)
        for position in group_positions(backend.event_log, chosen, domain)
        if position.info is not None
    ]
    by_owner = [
        _of_chunk(backend.event_log, domain, chunk, span)
        for _, info in groups
        for chunk in info.chunks
        if state_of(chunk.owner) is state
    ]
    by_owner += [
        _of_holder(backend, group, info, owner, count, span)
        for group, info in groups
        for owner, count in info.holders.items()
        if count and state_of(owner) is state
    ]
    previous = ""
    for candidate in heapq.merge(
        *by_owner, key=lambda candidate: entry_key(candidate.entry), reverse=True
    ):
        if candidate.entry != previous and span.past(domain, candidate.entry):
            previous = candidate.entry
            yield candidate


def _of_chunk(
    event_log: EventLog, domain: str, chunk: OpenChunk, span: SearchRange
) -> Iterator[Candidate]:
    """Yield the entries of an open chunk, newest first."""
    end, named = _earlier(span.last(domain), chunk.upto), frozenset(chunk.entries)
    for candidate in _logged(event_log, domain, f"({chunk.after}", end):
        if not span.has(candidate.entry):
            return
        if not named or candidate.entry in named:
            yield candidate


def _of_holder(
    backend: Backend, group: Group, info: GroupInfo, owner: str, count: int, span: SearchRange
) -> Iterator[Candidate]:
    """Yield the pending entries of one owner, newest first."""
    for entry in _pending_of(backend.deliveries, group, info, owner, count, span):
        entries = backend.event_log.read(group.domain, start=entry, end=entry, count=1)
        body, kind = (entries[0].body, entries[0].kind) if entries else (None, EntryKind.MADE)
        yield Candidate(group.domain, entry, body, entry, kind)


def _pending_of(
    deliveries: DeliveryStore,
    group: Group,
    info: GroupInfo,
    owner: str,
    count: int,
    span: SearchRange,
) -> Iterator[str]:
    """Yield the ids of one owner's pending entries, newest first.

    Redis lists pending entries forwards only, so they are read in time windows whose width adapts
    to their density. One window is enough if the owner has few.
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
        page = deliveries.pending_between(group, str(first), str(newest), PENDING, owner=owner)
        if len(page) == PENDING and first < newest:
            width = max(1, (newest - first + 1) // 8)
            continue
        entries = [pending.entry for pending in page]
        while len(page) == PENDING:  # more than a page in one millisecond
            last = f"({page[-1].entry}"
            page = deliveries.pending_between(group, last, str(newest), PENDING, owner=owner)
            entries += (pending.entry for pending in page)
        yield from reversed(entries)
        newest = first - 1
        if len(entries) < PENDING // 4:
            width *= 4
