"""Reads for all groups that stand together in a domain: see domain_reading.py."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

from celeriac.delivery.advance import Advance, Advanced
from celeriac.delivery.chunk_store import ChunkRequest, Fetched
from celeriac.dispatcher.domain_reading import (
    SHARED_FROM,
    DomainReading,
    Page,
    PlannedAdvance,
    plan_advance,
    sort_page,
)
from celeriac.dispatcher.fetching import ChunkFetcher, FetchedChunk
from celeriac.dispatcher.group_state import UNKNOWN, GroupState
from celeriac.dispatcher.interest_index import InterestIndex
from celeriac.event_log import entry_key
from celeriac.service import Service

MAX_PAGES = 4  # of one domain in one turn
# Another worker may have moved a group in between.
MAX_TRIES = 2


@dataclass(slots=True)
class Read:
    """What came of it: chunks that were opened, groups that go on by themselves, groups that have
    pending deliveries or open chunks, and groups that are gone."""

    chunks: list[FetchedChunk] = field(default_factory=list)
    pending: list[GroupState] = field(default_factory=list)
    leaving: list[GroupState] = field(default_factory=list)
    removed: list[GroupState] = field(default_factory=list)

    def leave(self, groups: Iterable[GroupState]) -> None:
        """They fetch for themselves."""
        for state in groups:
            state.is_together = False
            self.leaving.append(state)


class DomainReader:
    """Of one dispatcher. `look_every` is how often, in seconds, it looks at each domain; no turn is
    held for that. What blocks, blocks for round trips and raises redis.RedisError."""

    def __init__(self, service: Service, fetcher: ChunkFetcher, look_every: float) -> None:
        self._service, self._fetcher = service, fetcher
        self._look_every = look_every
        self._readings: dict[str, DomainReading] = {}

    def __contains__(self, domain: str) -> bool:
        return domain in self._readings

    def serve(self, groups: Iterable[GroupState]) -> None:
        """Read where many of these groups are in one domain. They stand together once each has
        fetched for itself what is there now."""
        before, self._readings = self._readings, {}
        for domain, some in _by_domain(groups).items():
            if len(some) < SHARED_FROM:
                for state in some:
                    state.is_together = False
                continue
            index = InterestIndex((state.group, state.handler) for state in some)
            reading = before.get(domain) or DomainReading(domain, {}, index, self._newest(domain))
            reading.groups, reading.index = {state.group: state for state in some}, index
            self._readings[domain] = reading

    def _newest(self, domain: str) -> str:
        newest = self._service.backend.event_log.read(domain, count=1, newest_first=True)
        return newest[0].id if newest else "0-0"

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
        """Read on in each domain where there is more, and move the groups whose handlers want some
        of it.

        A group that may not share leaves the others; one that takes no chunk stops before what its
        handler wants.
        """
        read = Read()
        for reading in self._readings.values():
            if reading.is_behind:
                self._read_domain(reading, may_share, takes_chunk, read)
        return read

    def _read_domain(
        self,
        reading: DomainReading,
        may_share: Callable[[GroupState], bool],
        takes_chunk: Callable[[GroupState], bool],
        read: Read,
    ) -> None:
        event_log = self._service.backend.event_log
        for _ in range(MAX_PAGES):
            if not any(state.is_together for state in reading.groups.values()):
                return
            count = reading.size.count(1)
            entries = event_log.read(reading.domain, start=f"({reading.upto}", count=count)
            page = sort_page(reading, entries, is_full=len(entries) == count)
            reading.size.note(len(entries), len(entries), sum(len(e.body or b"") for e in entries))
            wanting = [reading.groups[group] for group in page.wanted]
            wanting = [state for state in wanting if state.is_together]
            read.leave(state for state in wanting if not may_share(state))
            if page.entries:
                groups = [state for state in wanting if state.is_together]
                self._advance(page, groups, takes_chunk, read)
                reading.upto, reading.count = page.upto, page.count + len(page.entries)
            if page.is_cut:
                read.leave(reading.together)
            reading.is_behind = page.is_full
            if not page.is_full or page.is_cut:
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
            read.leave(one.state for one in planned if one.move is None and not one.stays)
            moving = [(one, one.move) for one in planned if one.move is not None]
            left = []
            for (one, move), answer in zip(moving, self._move(page, moving), strict=True):
                if answer.is_moved:
                    one.state.count = page.count + one.end + 1
                    self._moved(page, one, answer, read)
                elif _note_position(one.state, move, answer, read):
                    left.append(one.state)
        read.leave(left)

    def _move(self, page: Page, moving: Sequence[tuple[PlannedAdvance, Advance]]) -> list[Advanced]:
        requests = [_request(page, one) for one, move in moving if move.chunk is not None]
        moves = [move for _, move in moving]
        return self._fetcher.advance(moves, requests) if moves else []

    def _moved(self, page: Page, one: PlannedAdvance, answer: Advanced, read: Read) -> None:
        state = one.state
        state.position = answer.position
        entries = [page.entries[index] for index in one.chosen]
        size = sum(len(entry.body or b"") for entry in page.entries)
        state.size.note(len(page.entries), len(page.wanted.get(state.group, ())), size)
        if entries:
            fetched = Fetched(
                entries=tuple(entries),
                position=answer.position,
                now_ms=answer.now_ms,
                open_chunks=answer.open_chunks,
                patterns=state.handler.patterns,
                mean_us=answer.mean_us,
                is_ambiguous=answer.is_ambiguous,
            )
            more = not one.stays
            read.chunks.append(self._fetcher.opened(state, _request(page, one), fetched, more=more))
        if not one.stays:
            read.leave([state])

    # -- what no doorbell rings for

    def look(self, now: float, may_share: Callable[[GroupState], bool]) -> Read:
        """Where it is time to: move groups past what their handlers do not want, and find those
        that have pending deliveries or open chunks, or are gone."""
        read = Read()
        rung = [one for one in self._readings.values() if one.is_rung]
        counts = self._service.backend.deliveries.pending_counts([one.domain for one in rung])
        for reading, count in zip(rung, counts, strict=True):
            reading.is_rung = False
            groups = reading.groups.values()
            read.pending += [state for state in groups if count and count.get(state.handler.id)]
        due = [one for one in self._readings.values() if one.look_at <= now]
        for reading in due:
            reading.look_at = now + self._look_every * random.uniform(0.5, 1)
            read.leave(state for state in reading.together if not may_share(state))
        moving = [(one, state, one.catch_up(state)) for one in due for state in one.groups.values()]
        answers = self._fetcher.advance([move for _, _, move in moving], ()) if moving else []
        for (reading, state, move), answer in zip(moving, answers, strict=True):
            if answer.has_open:
                read.pending.append(state)
            if answer.is_moved:
                state.position, state.count = answer.position, reading.count
            else:
                _note_position(state, move, answer, read)
        return read


def _request(page: Page, one: PlannedAdvance) -> ChunkRequest:
    assert one.move is not None
    assert one.move.chunk is not None
    return ChunkRequest(one.state.group, one.move.chunk.id, len(one.chosen))


def _note_position(state: GroupState, move: Advance, answer: Advanced, read: Read) -> bool:
    """Note where the group stands that was not moved; whether another try is worth it: another
    worker moved it on."""
    if answer.is_unknown:
        if state.is_together and move.after != UNKNOWN:
            read.leave([state])
        return False
    if not answer.position:
        state.is_together = False
        read.removed.append(state)
        return False
    if not state.is_together:
        return False
    before, state.position = state.position, answer.position
    if answer.position == before:
        if move.after != UNKNOWN:
            # Another version of its handler is in force, or the log has lost its end.
            read.leave([state])
        return False
    state.count = -1
    if entry_key(answer.position) < entry_key(before):
        # It was set back.
        read.leave([state])
        return False
    return True


def _by_domain(groups: Iterable[GroupState]) -> dict[str, list[GroupState]]:
    found: dict[str, list[GroupState]] = {}
    for state in groups:
        found.setdefault(state.group.domain, []).append(state)
    return found
