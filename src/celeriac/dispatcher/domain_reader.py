"""Read a domain for all groups that share its reading: see domain_reading.py."""

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
from celeriac.dispatcher.poll_interval import BUSY
from celeriac.event_log import entry_key
from celeriac.service import Service

MAX_PAGES = 4  # of one domain in one iteration
MAX_READ = 4000  # entries in one iteration, over all domains
LEAST_PAGE = 50
# Prefetched entries that are in no chunk yet, over all domains, and their bytes. No more is read
# while there are more.
MAX_AHEAD, MAX_AHEAD_BYTES = 20_000, 16_000_000
# Prefetched entries of a group without a free chunk slot, after which it fetches separately.
MAX_LAG = 1000
# Another worker may have advanced a group in between.
MAX_TRIES = 2
MAX_CHUNKS = 256  # in one iteration, for tasks that use the broker
MAX_POLLED = 256  # groups in one iteration, unless one domain has more
# An advance that needs no lookup costs as much as looking up this many groups.
LOOKED_UP = 8
MAX_COUNTED = 64  # groups whose open chunks are counted in one iteration


@dataclass(slots=True)
class ReadResult:
    """The result of reading: opened chunks, groups that fetch separately from now on, groups that
    have pending deliveries or expired chunks, and groups that are gone."""

    chunks: list[FetchedChunk] = field(default_factory=list)
    pending: list[GroupState] = field(default_factory=list)
    leaving: list[GroupState] = field(default_factory=list)
    removed: list[GroupState] = field(default_factory=list)

    def leave(self, groups: Iterable[GroupState]) -> None:
        """Make the groups fetch separately."""
        for state in groups:
            state.read_separately()
            self.leaving.append(state)


class DomainReader:
    """The reader of one dispatcher. It polls each domain every `poll_interval` seconds, without
    waiting for that. Methods that block, block for round trips and raise redis.RedisError."""

    def __init__(self, service: Service, fetcher: ChunkFetcher, poll_interval: float) -> None:
        self._service, self._fetcher = service, fetcher
        self._poll_interval = poll_interval
        self._readings: dict[str, DomainReading] = {}
        self._begin = 0
        self._queues: frozenset[str] = frozenset()

    def __contains__(self, domain: str) -> bool:
        return domain in self._readings

    def serve(self, groups: Iterable[GroupState]) -> None:
        """Read the domains that have many of these groups. A group shares the reading once it has
        fetched separately all that the domain has now."""
        groups = list(groups)
        self._queues = frozenset(state.handler.queue for state in groups)
        before, self._readings = self._readings, {}
        for domain, some in _by_domain(groups).items():
            if len(some) < SHARED_FROM:
                for state in some:
                    state.read_separately()
                continue
            index = InterestIndex((state.group, state.handler) for state in some)
            reading = before.get(domain) or DomainReading(domain, {}, index, self._newest(domain))
            reading.serve(some, index)
            self._readings[domain] = reading

    def _newest(self, domain: str) -> str:
        newest = self._service.backend.event_log.read(domain, count=1, newest_first=True)
        return newest[0].id if newest else "0-0"

    def wake(self, domains: Collection[str] | None) -> None:
        """Mark these domains as having new entries; None means any domain."""
        for domain, reading in self._readings.items():
            if domains is None or domain in domains:
                reading.is_behind = True

    def wake_pending(self, domain: str) -> None:
        """Mark the domain as having due deliveries."""
        self._readings[domain].is_woken = True

    def pause(self) -> float:
        """Return the seconds until there is more to read or to send: 0, a short time, or infinity
        if a wakeup will follow."""
        readings = self._readings.values()
        if any(r.is_behind and r.has_shared for r in readings) and not self._is_full():
            return 0.0
        return BUSY if any(reading.waiting for reading in readings) else NEVER

    def _is_full(self) -> bool:
        waiting = [reading for reading in self._readings.values() if reading.waiting]
        entries = sum(len(state.prefetched) for r in waiting for state in r.waiting.values())
        return entries >= MAX_AHEAD or sum(r.bytes_ahead for r in waiting) >= MAX_AHEAD_BYTES

    def note_fetched(self, groups: Iterable[GroupState], *, at_end: bool) -> None:
        """Record that these groups fetched separately; `at_end`: to the end of the log."""
        for domain, some in _by_domain(groups).items():
            if domain in self._readings:
                self._readings[domain].note_fetched(some, at_end=at_end)

    # -- reading

    def read(
        self,
        may_share: Callable[[GroupState], bool],
        takes_chunks: Callable[[GroupState], bool],
        pool_capacity: Callable[[str], int | None],
    ) -> ReadResult:
        """Read the next entries of each domain, and open chunks of what the handlers want.

        A group that may not share fetches separately. So does one that takes no chunks, once it was
        advanced up to the entries that its handler wants. `pool_capacity` returns how many delivery
        tasks of a queue may be sent, None for any number.
        """
        read = ReadResult()
        self._read_pages(read)
        slots = _TaskSlots(pool_capacity)
        for _ in range(MAX_TRIES):
            if self._open_chunks(may_share, takes_chunks, slots, read):
                break
        return read

    def _read_pages(self, read: ReadResult) -> None:
        """Read a page of each domain with new entries, in one round trip for all; repeat while
        there are more."""
        remaining = MAX_READ
        for _ in range(MAX_PAGES):
            behind = [r for r in self._readings.values() if r.is_behind and r.has_shared]
            if not behind or remaining <= 0 or self._is_full():
                return
            share = max(LEAST_PAGE, remaining // len(behind))
            pages = [(r.domain, r.upto, min(r.size.count(1), share)) for r in behind]
            answers = self._service.backend.event_log.read_after(pages)
            for reading, (_, _, count), entries in zip(behind, pages, answers, strict=True):
                if entries is None:  # its cluster node is unreachable: the next poll tries again
                    reading.is_behind = False
                    reading.is_away = True
                    continue
                remaining -= len(entries)
                if not reading.add(entries, is_full=len(entries) >= count):
                    read.leave(reading.shared)

    def _open_chunks(
        self,
        may_share: Callable[[GroupState], bool],
        takes_chunks: Callable[[GroupState], bool],
        slots: _TaskSlots,
        read: ReadResult,
    ) -> bool:
        """Open a chunk for each group that waits for entries and has a free slot.

        Returns whether no group must be tried again.
        """
        planned: list[PlannedAdvance] = []
        full: list[GroupState] = []
        for reading in self._in_turn():
            if slots.are_used(self._queues):
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
                elif not self._fetcher.has_slot(state):
                    full.append(state)
                else:
                    slots.use()
                    planned.append(plan_chunk(reading, state))
        self._count_open(full, read)
        return self._carry_out(planned, slots, read)

    def _in_turn(self) -> list[DomainReading]:
        """Return the domains in which groups wait, in rotation."""
        waiting = [reading for reading in self._readings.values() if reading.waiting]
        if not waiting:
            return []
        self._begin = (self._begin + 1) % len(waiting)
        return [*waiting[self._begin :], *waiting[: self._begin]]

    def _count_open(self, full: Sequence[GroupState], read: ReadResult) -> None:
        """Count the open chunks of groups without a free slot: they may have one again."""
        lagging = [state for state in full if len(state.prefetched) >= MAX_LAG]
        read.leave(lagging)
        counted = [state for state in full if state.is_shared][:MAX_COUNTED]
        self._fetcher.count_open(counted)

    def _carry_out(
        self, planned: Sequence[PlannedAdvance], slots: _TaskSlots, read: ReadResult
    ) -> bool:
        if not planned:
            return True
        requests = [_request(plan) for plan in planned if plan.chosen]
        of_domain = Counter(plan.reading.domain for plan in planned)
        moves = [
            plan.reading.without_look_up(plan)
            if LOOKED_UP * of_domain[plan.reading.domain] < len(plan.reading.groups)
            else plan.move
            for plan in planned
        ]
        answers = self._fetcher.advance(moves, requests)
        is_done = True
        for plan, answer in zip(planned, answers, strict=True):
            plan.reading.note_read(plan.count if answer.is_moved else -1, answer.entries_read)
            if answer.is_moved:
                self._moved(plan, answer, slots, read)
            elif _note_position(plan.state, plan.move, answer, read):
                is_done = False
        return is_done

    def _moved(
        self, plan: PlannedAdvance, answer: Advanced, slots: _TaskSlots, read: ReadResult
    ) -> None:
        state, reading = plan.state, plan.reading
        state.position, state.count = answer.position, plan.count
        for _ in plan.chosen:
            state.prefetched.popleft()
        reading.waiting.pop(state.group, None)
        reading.dense.discard(state.group)
        if state.prefetched:
            reading.waiting[state.group] = state  # behind the other groups
        if plan.chosen:
            fetched = Fetched(
                entries=tuple([chosen.entry for chosen in plan.chosen]),
                position=answer.position,
                now_ms=answer.now_ms,
                open_chunks=answer.open_chunks,
                patterns=state.handler.interests,
                mean_us=answer.mean_us,
                is_ambiguous=answer.is_ambiguous,
            )
            is_direct = slots.is_direct(state.handler.queue)
            more = FEW if plan.leaves else 0
            read.chunks.append(FetchedChunk(state, _request(plan), fetched, more, is_direct))
        if plan.leaves:
            read.leave([state])

    # -- what causes no wakeup

    def _due(self, now: float) -> list[DomainReading]:
        """Return the domains to poll: if one is due, all that are due soon, but not more groups
        than one iteration may take."""
        readings = sorted(self._readings.values(), key=lambda reading: reading.poll_at)
        if not readings or readings[0].poll_at > now:
            return []
        soon, groups, due = now + self._poll_interval / 4, 0, list[DomainReading]()
        for reading in readings:
            if reading.poll_at > soon or (due and groups + len(reading.groups) > MAX_POLLED):
                break
            groups += len(reading.groups)
            due.append(reading)
        return due

    def poll(self, now: float, may_share: Callable[[GroupState], bool]) -> ReadResult:
        """Poll the domains that are due.

        Advances groups past entries that their handlers do not want, and finds groups that have
        pending deliveries or open chunks, or are gone.
        """
        read = ReadResult()
        woken = [reading for reading in self._readings.values() if reading.is_woken]
        domains = [reading.domain for reading in woken]
        counts = self._service.backend.deliveries.pending_counts(domains)
        for reading, count in zip(woken, counts, strict=True):
            reading.is_woken = False
            groups = reading.groups.values()
            read.pending += [state for state in groups if count and count.get(state.handler.id)]
        due = self._due(now)
        for reading in due:
            reading.poll_at = now + self._poll_interval * random.uniform(0.5, 1)
            reading.is_behind |= reading.is_away
            reading.is_away = False
            read.leave(state for state in reading.shared if not may_share(state))
        moving = [
            (reading, state, reading.catch_up(state))
            for reading in due
            for state in reading.groups.values()
        ]
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


class _TaskSlots:
    """How many delivery tasks may still be sent in one iteration."""

    def __init__(self, pool_capacity: Callable[[str], int | None]) -> None:
        self._pool_capacity = pool_capacity
        self._of_queue: dict[str, int | None] = {}
        self._used = 0

    def has(self, queue: str) -> bool:
        """Return whether another task of the queue may be sent."""
        if queue not in self._of_queue:
            self._of_queue[queue] = self._pool_capacity(queue)
        capacity = self._of_queue[queue]
        return self._used < (MAX_CHUNKS if capacity is None else capacity)

    def use(self) -> None:
        """Count a task that will be sent."""
        self._used += 1

    def are_used(self, queues: Iterable[str]) -> bool:
        """Return whether no task may be sent to any of the queues."""
        return not any(map(self.has, queues))

    def is_direct(self, queue: str) -> bool:
        """Return whether tasks of the queue are delivered directly to the worker's own pool."""
        return self._of_queue.get(queue) is not None


def _request(plan: PlannedAdvance) -> ChunkRequest:
    assert plan.move.chunk is not None
    return ChunkRequest(plan.state.group, plan.move.chunk.id, len(plan.chosen))


def _note_position(state: GroupState, move: Advance, answer: Advanced, read: ReadResult) -> bool:
    """Record the position of a group that was not advanced.

    Returns whether another try is useful: another worker advanced it.
    """
    if answer.is_unknown:
        if state.is_shared and move.after != UNKNOWN:
            read.leave([state])
        return False
    if not answer.position:
        state.read_separately()
        read.removed.append(state)
        return False
    if not state.is_shared:
        return False
    before, state.position = state.position, answer.position
    if answer.position == before:
        if move.after != UNKNOWN:
            # Another version of its handler has patterns in force, or the log lost its end.
            read.leave([state])
        return False
    state.count = -1
    if entry_key(answer.position) < entry_key(before):
        # The group was set back.
        read.leave([state])
        return False
    return True


def _by_domain(groups: Iterable[GroupState]) -> dict[str, list[GroupState]]:
    groups_of: dict[str, list[GroupState]] = {}
    for state in groups:
        groups_of.setdefault(state.group.domain, []).append(state)
    return groups_of
