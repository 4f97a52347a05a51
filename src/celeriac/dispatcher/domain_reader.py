"""Reads for all groups that stand together in a domain: see domain_reading.py."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

from celeriac.dispatcher.domain_reading import (
    SHARED_FROM,
    DomainReading,
    Page,
    PlannedAdvance,
    plan_advance,
    sort_page,
)
from celeriac.dispatcher.fetching import ChunkFetcher, FetchedChunk
from celeriac.dispatcher.group_state import GroupState
from celeriac.dispatcher.interest_index import InterestIndex
from celeriac.ledger.advance import Advance, Advanced
from celeriac.ledger.chunk_store import Fetched, FetchRequest
from celeriac.log import entry_key
from celeriac.subscription import Service

MAX_PAGES = 4  # of one domain in one turn
# Another worker may have moved a group in between.
MAX_TRIES = 2


@dataclass(slots=True)
class Read:
    """What came of reading: chunks that were opened, groups that go on by themselves, and groups
    that are gone."""

    chunks: list[FetchedChunk] = field(default_factory=list)
    leaving: list[GroupState] = field(default_factory=list)
    removed: list[GroupState] = field(default_factory=list)

    def leave(self, groups: Iterable[GroupState]) -> None:
        """They fetch for themselves."""
        for group in groups:
            group.is_together = False
            self.leaving.append(group)


class DomainReader:
    """Of one dispatcher. `look_every` is how often, in seconds, it looks for pending deliveries in
    each domain. What blocks, blocks for round trips and raises redis.RedisError."""

    def __init__(self, service: Service, fetcher: ChunkFetcher, look_every: float) -> None:
        self._service, self._fetcher = service, fetcher
        self._look_every = look_every
        # An open chunk is done or its lease expires within 4 leases.
        self._watches = math.ceil(4 * service.settings.lease / look_every)
        self._readings: dict[str, DomainReading] = {}

    def __contains__(self, domain: str) -> bool:
        return domain in self._readings

    def serve(self, groups: Iterable[GroupState]) -> None:
        """Read where many of these groups are in one domain. They stand together once each has
        fetched for itself what is there now."""
        before, self._readings = self._readings, {}
        for domain, some in _by_domain(groups).items():
            if len(some) < SHARED_FROM:
                for group in some:
                    group.is_together = False
                continue
            index = InterestIndex((group.lane, group.handler) for group in some)
            reading = before.get(domain) or DomainReading(domain, some, index, self._newest(domain))
            reading.groups, reading.index = some, index
            self._readings[domain] = reading

    def _newest(self, domain: str) -> str:
        newest = self._service.backend.log.read(domain, count=1, newest_first=True)
        return newest[0].id if newest else "0-0"

    def watch(self, group: GroupState) -> None:
        """Some worker opened a chunk of the group, whose lease may expire."""
        group.watches = self._watches

    def wake(self, domains: Collection[str] | None) -> None:
        """There may be something new in these domains; None says in any."""
        for domain, reading in self._readings.items():
            if domains is None or domain in domains:
                reading.is_behind = True

    def wake_pending(self, domain: str) -> None:
        """Something is due in the domain."""
        self._readings[domain].is_rung = True

    @property
    def is_behind(self) -> bool:
        """Whether there may be more to read for some group."""
        return any(one.is_behind and one.together for one in self._readings.values())

    def note_fetched(self, groups: Iterable[GroupState], *, at_end: bool) -> None:
        """These groups fetched for themselves, `at_end`: to the end of the log."""
        for domain, some in _by_domain(groups).items():
            if domain in self._readings:
                self._readings[domain].note_fetched(some, at_end=at_end)

    # -- reading

    def read(
        self, may_share: Callable[[GroupState], bool], takes_chunk: Callable[[GroupState], bool]
    ) -> Read:
        """Read on in each domain where there is more, and move its groups.

        A group that may not share leaves the others; one that takes no chunk stops before what its
        handler wants.
        """
        read = Read()
        for reading in self._readings.values():
            if reading.is_behind:
                read.leave(group for group in reading.together if not may_share(group))
                self._read_domain(reading, takes_chunk, read)
        return read

    def _read_domain(
        self, reading: DomainReading, takes_chunk: Callable[[GroupState], bool], read: Read
    ) -> None:
        log = self._service.backend.log
        for _ in range(MAX_PAGES):
            if not (groups := reading.together):
                return
            count = reading.size.count(1)
            entries = log.read(reading.domain, start=f"({reading.upto}", count=count)
            is_full = len(entries) == count
            page = sort_page(reading.domain, reading.upto, entries, reading.index, is_full=is_full)
            reading.size.note(len(entries), len(entries), sum(len(e.body or b"") for e in entries))
            if page.entries:
                self._advance(page, groups, takes_chunk, read)
                reading.upto = page.upto
            if page.is_cut:
                read.leave(reading.together)
            reading.is_behind = is_full
            if not is_full or page.is_cut:
                return

    def _advance(
        self,
        page: Page,
        groups: Sequence[GroupState],
        takes_chunk: Callable[[GroupState], bool],
        read: Read,
    ) -> None:
        left = list(groups)
        for _ in range(MAX_TRIES):
            planned = [plan_advance(page, one, takes_chunk=takes_chunk(one)) for one in left]
            read.leave(one.group for one in planned if one.move is None and not one.stays)
            moving = [(one, one.move) for one in planned if one.move is not None]
            left = []
            for (one, _), answer in zip(moving, self._move(page, moving), strict=True):
                if answer.is_moved:
                    self._moved(page, one, answer, read)
                elif not answer.position and not answer.is_unknown:
                    one.group.is_together = False
                    read.removed.append(one.group)
                elif _is_in(page, one.group, answer):
                    left.append(one.group)
                else:
                    read.leave([one.group])
                if not answer.is_moved:
                    self.watch(one.group)
        read.leave(left)

    def _move(self, page: Page, moving: Sequence[tuple[PlannedAdvance, Advance]]) -> list[Advanced]:
        requests = [_request(page, one) for one, move in moving if move.chunk is not None]
        moves = [move for _, move in moving]
        return self._fetcher.advance(moves, requests) if moves else []

    def _moved(self, page: Page, one: PlannedAdvance, answer: Advanced, read: Read) -> None:
        group = one.group
        group.position = answer.position
        entries = [page.entries[index] for index in one.chosen]
        size = sum(len(entry.body or b"") for entry in page.entries)
        group.size.note(len(page.entries), len(page.wanted.get(group.lane, ())), size)
        if entries:
            fetched = Fetched(
                entries=tuple(entries),
                position=answer.position,
                now_ms=answer.now_ms,
                open_chunks=answer.open_chunks,
                patterns=group.handler.patterns,
                mean_us=answer.mean_us,
                is_ambiguous=answer.is_ambiguous,
            )
            more = not one.stays
            read.chunks.append(self._fetcher.opened(group, _request(page, one), fetched, more=more))
        if not one.stays:
            read.leave([group])

    # -- what no doorbell rings for

    def look(self, now: float) -> tuple[list[GroupState], list[GroupState]]:
        """Return the groups that may have pending deliveries or chunks whose lease expired, and
        those that are gone, where it is time to look for them."""
        due = [one for one in self._readings.values() if one.is_rung or one.look_at <= now]
        counts = self._service.backend.ledger.pending_counts([one.domain for one in due])
        pending, gone = [], []
        for reading, count in zip(due, counts, strict=True):
            reading.is_rung = False
            if reading.look_at <= now:
                reading.look_at = now + self._look_every * random.uniform(0.5, 1)
                pending += reading.watched()
            if count is not None:
                pending += [group for group in reading.groups if count.get(group.handler.id)]
                gone += [group for group in reading.groups if group.handler.id not in count]
        return pending, gone

    def next_look(self) -> float:
        """Return when to look again; infinity where there is no domain to look at."""
        return min((one.look_at for one in self._readings.values()), default=math.inf)


def _request(page: Page, one: PlannedAdvance) -> FetchRequest:
    assert one.move is not None
    assert one.move.chunk is not None
    return FetchRequest(one.group.lane, one.move.chunk.id, len(one.chosen))


def _is_in(page: Page, group: GroupState, answer: Advanced) -> bool:
    """Whether the group stands in the page, and another try is worth it."""
    before, group.position = group.position, answer.position or group.position
    if answer.is_unknown or group.position == before:
        return False
    return entry_key(group.position) >= entry_key(page.before)


def _by_domain(groups: Iterable[GroupState]) -> dict[str, list[GroupState]]:
    found: dict[str, list[GroupState]] = {}
    for group in groups:
        found.setdefault(group.lane.domain, []).append(group)
    return found
