"""Reads for all groups that stand together in a domain: see domain_reading.py."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

from celeriac.delivery.advance import Advance, Advanced
from celeriac.delivery.chunk_store import ChunkRequest, Fetched
from celeriac.delivery.fetch_size import FEW
from celeriac.dispatcher.domain_reading import (
    SHARED_FROM,
    DomainReading,
    PlannedAdvance,
    plan_chunk,
    plan_leaving,
)
from celeriac.dispatcher.fetching import ChunkFetcher, FetchedChunk
from celeriac.dispatcher.group_state import NEVER, UNKNOWN, GroupState
from celeriac.dispatcher.interest_index import InterestIndex
from celeriac.dispatcher.pause import BUSY
from celeriac.event_log import entry_key
from celeriac.service import Service

MAX_PAGES = 4  # of one domain in one turn
MAX_READ = 4000  # entries in one turn, over all domains
LEAST_PAGE = 50
# Entries that no chunk has yet, over all domains, and their bytes: no more is read then.
MAX_AHEAD, MAX_AHEAD_BYTES = 20_000, 16_000_000
# Of a group that has as many open chunks as it may: it fetches for itself from there on.
MAX_LAG = 1000
# Another worker may have moved a group in between.
MAX_TRIES = 2
MAX_CHUNKS = 256  # in one turn, where tasks pass through the broker
MAX_LOOKED_AT = 256  # groups in one turn, but for those of one domain
# A move that needs no look-up costs as much as looking up so many groups.
LOOKED_UP = 8
MAX_COUNTED = 64  # groups of which the open chunks are counted in one turn


@dataclass(slots=True)
class Read:
    """What came of it: chunks that were opened, groups that go on by themselves, groups that have
    pending deliveries or expired chunks, and groups that are gone."""

    chunks: list[FetchedChunk] = field(default_factory=list)
    pending: list[GroupState] = field(default_factory=list)
    leaving: list[GroupState] = field(default_factory=list)
    removed: list[GroupState] = field(default_factory=list)

    def leave(self, groups: Iterable[GroupState]) -> None:
        """They fetch for themselves."""
        for state in groups:
            state.stand_apart()
            self.leaving.append(state)


class DomainReader:
    """Of one dispatcher. `look_every` is how often, in seconds, it looks at each domain; no turn is
    held for that. What blocks, blocks for round trips and raises redis.RedisError."""

    def __init__(self, service: Service, fetcher: ChunkFetcher, look_every: float) -> None:
        self._service, self._fetcher = service, fetcher
        self._look_every = look_every
        self._readings: dict[str, DomainReading] = {}
        self._begin = 0
        self._queues: frozenset[str] = frozenset()

    def __contains__(self, domain: str) -> bool:
        return domain in self._readings

    def serve(self, groups: Iterable[GroupState]) -> None:
        """Read where many of these groups are in one domain. They stand together once each has
        fetched for itself what is there now."""
        groups = list(groups)
        self._queues = frozenset(state.handler.queue for state in groups)
        before, self._readings = self._readings, {}
        for domain, some in _by_domain(groups).items():
            if len(some) < SHARED_FROM:
                for state in some:
                    state.stand_apart()
                continue
            index = InterestIndex((state.group, state.handler) for state in some)
            reading = before.get(domain) or DomainReading(domain, {}, index, self._newest(domain))
            reading.serve(some, index)
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

    def pause(self) -> float:
        """Return the seconds after which there is more to read or to send: 0, a moment, or
        infinity where a doorbell says so."""
        readings = self._readings.values()
        if any(one.is_behind and one.has_together for one in readings) and not self._is_full():
            return 0.0
        return BUSY if any(one.waiting for one in readings) else NEVER

    def _is_full(self) -> bool:
        waiting = [one for one in self._readings.values() if one.waiting]
        entries = sum(len(state.read_ahead) for one in waiting for state in one.waiting.values())
        return entries >= MAX_AHEAD or sum(one.bytes_ahead for one in waiting) >= MAX_AHEAD_BYTES

    def note_fetched(self, groups: Iterable[GroupState], *, at_end: bool) -> None:
        """These groups fetched for themselves, `at_end`: to the end of the log."""
        for domain, some in _by_domain(groups).items():
            if domain in self._readings:
                self._readings[domain].note_fetched(some, at_end=at_end)

    # -- reading

    def read(
        self,
        may_share: Callable[[GroupState], bool],
        takes_chunks: Callable[[GroupState], bool],
        room: Callable[[str], int | None],
    ) -> Read:
        """Read on in each domain where there is more, and open chunks of what the handlers want.

        A group that may not share leaves the others, and so does one that takes no chunks, once it
        was moved up to what its handler wants. `room` says how many delivery tasks of a queue may
        be sent, None for any number.
        """
        read = Read()
        self._read_pages(read)
        slots = _Slots(room)
        for _ in range(MAX_TRIES):
            if self._open_chunks(may_share, takes_chunks, slots, read):
                break
        return read

    def _read_pages(self, read: Read) -> None:
        """Read a page of each domain that is behind, in one round trip for all; again while there
        is more."""
        left = MAX_READ
        for _ in range(MAX_PAGES):
            behind = [one for one in self._readings.values() if one.is_behind and one.has_together]
            if not behind or left <= 0 or self._is_full():
                return
            share = max(LEAST_PAGE, left // len(behind))
            asked = [(one.domain, one.upto, min(one.size.count(1), share)) for one in behind]
            answers = self._service.backend.event_log.read_after(asked)
            for reading, (_, _, count), entries in zip(behind, asked, answers, strict=True):
                if entries is None:  # its node of a cluster is away: the next look tries again
                    reading.is_behind = False
                    reading.is_away = True
                    continue
                left -= len(entries)
                if not reading.add(entries, is_full=len(entries) >= count):
                    read.leave(reading.together)

    def _open_chunks(
        self,
        may_share: Callable[[GroupState], bool],
        takes_chunks: Callable[[GroupState], bool],
        slots: _Slots,
        read: Read,
    ) -> bool:
        """Open a chunk for each group that waits for entries and has room; whether none of them
        has to be tried again."""
        planned: list[PlannedAdvance] = []
        full: list[GroupState] = []
        for reading in self._in_turn():
            if slots.are_taken(self._queues):
                break
            for state in list(reading.waiting.values()):
                if not slots.has(state.handler.queue) or not reading.is_waiting(state):
                    continue
                if not may_share(state):
                    read.leave([state])
                elif not takes_chunks(state):
                    move = plan_leaving(reading, state)
                    if move is None:
                        read.leave([state])
                    else:
                        planned.append(move)
                elif not self._fetcher.has_room(state):
                    full.append(state)
                else:
                    slots.take()
                    planned.append(plan_chunk(reading, state))
        self._count_open(full, read)
        return self._carry_out(planned, slots, read)

    def _in_turn(self) -> list[DomainReading]:
        """The domains in which groups wait, the one that comes first changing with each turn."""
        waiting = [one for one in self._readings.values() if one.waiting]
        if not waiting:
            return []
        self._begin = (self._begin + 1) % len(waiting)
        return [*waiting[self._begin :], *waiting[: self._begin]]

    def _count_open(self, full: Sequence[GroupState], read: Read) -> None:
        """Find out which of these groups have room again."""
        lagging = [state for state in full if len(state.read_ahead) >= MAX_LAG]
        read.leave(lagging)
        counted = [state for state in full if state.is_together][:MAX_COUNTED]
        self._fetcher.count_open(counted)

    def _carry_out(self, planned: Sequence[PlannedAdvance], slots: _Slots, read: Read) -> bool:
        if not planned:
            return True
        requests = [_request(one) for one in planned if one.chosen]
        of_domain = Counter(one.reading.domain for one in planned)
        moves = [
            one.reading.without_look_up(one)
            if LOOKED_UP * of_domain[one.reading.domain] < len(one.reading.groups)
            else one.move
            for one in planned
        ]
        answers = self._fetcher.advance(moves, requests)
        is_done = True
        for one, answer in zip(planned, answers, strict=True):
            one.reading.note_read(one.count if answer.is_moved else -1, answer.entries_read)
            if answer.is_moved:
                self._moved(one, answer, slots, read)
            elif _note_position(one.state, one.move, answer, read):
                is_done = False
        return is_done

    def _moved(self, one: PlannedAdvance, answer: Advanced, slots: _Slots, read: Read) -> None:
        state, reading = one.state, one.reading
        state.position, state.count = answer.position, one.count
        for _ in one.chosen:
            state.read_ahead.popleft()
        reading.waiting.pop(state.group, None)
        reading.dense.discard(state.group)
        if state.read_ahead:
            reading.waiting[state.group] = state  # the others come first
        if one.chosen:
            fetched = Fetched(
                entries=tuple([each.entry for each in one.chosen]),
                position=answer.position,
                now_ms=answer.now_ms,
                open_chunks=answer.open_chunks,
                patterns=state.handler.patterns,
                mean_us=answer.mean_us,
                is_ambiguous=answer.is_ambiguous,
            )
            is_direct = slots.is_direct(state.handler.queue)
            more = FEW if one.leaves else 0
            read.chunks.append(FetchedChunk(state, _request(one), fetched, more, is_direct))
        if one.leaves:
            read.leave([state])

    # -- what no doorbell rings for

    def _due(self, now: float) -> list[DomainReading]:
        """The domains to look at: if it is time for one, all whose time comes soon, but not more
        groups than one turn may be held up for."""
        readings = sorted(self._readings.values(), key=lambda one: one.look_at)
        if not readings or readings[0].look_at > now:
            return []
        soon, groups, due = now + self._look_every / 4, 0, list[DomainReading]()
        for reading in readings:
            if reading.look_at > soon or (due and groups + len(reading.groups) > MAX_LOOKED_AT):
                break
            groups += len(reading.groups)
            due.append(reading)
        return due

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
        due = self._due(now)
        for reading in due:
            reading.look_at = now + self._look_every * random.uniform(0.5, 1)
            reading.is_behind |= reading.is_away
            reading.is_away = False
            read.leave(state for state in reading.together if not may_share(state))
        moving = [(one, state, one.catch_up(state)) for one in due for state in one.groups.values()]
        answers = self._fetcher.advance([move for _, _, move in moving], ()) if moving else []
        for (reading, state, move), answer in zip(moving, answers, strict=True):
            if answer.has_open:
                read.pending.append(state)
            if answer.is_moved:
                state.position, state.count = answer.position, reading.count
                reading.note_read(reading.count, answer.entries_read)
            else:
                _note_position(state, move, answer, read)
        return read


class _Slots:
    """How many delivery tasks may still be sent in one turn."""

    def __init__(self, room: Callable[[str], int | None]) -> None:
        self._room, self._of_queue, self._taken = room, dict[str, int | None](), 0

    def has(self, queue: str) -> bool:
        """Whether there is one for a task of the queue."""
        if queue not in self._of_queue:
            self._of_queue[queue] = self._room(queue)
        room = self._of_queue[queue]
        return self._taken < (MAX_CHUNKS if room is None else room)

    def take(self) -> None:
        """One task will be sent."""
        self._taken += 1

    def are_taken(self, queues: Iterable[str]) -> bool:
        """Whether there is none left for any of the queues."""
        return not any(map(self.has, queues))

    def is_direct(self, queue: str) -> bool:
        """Whether tasks of the queue are handed over to the worker's own pool."""
        return self._of_queue.get(queue) is not None


def _request(one: PlannedAdvance) -> ChunkRequest:
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
        state.stand_apart()
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
