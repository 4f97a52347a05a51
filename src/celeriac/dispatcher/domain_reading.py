"""Read a domain once for all consumer groups of the service that share its reading.

A thousand groups that each read the whole domain would read every entry a thousand times. So the
dispatcher reads new entries once, and selects for each group those that its handler wants. They
become a chunk as soon as a chunk slot is free. Until then the dispatcher keeps reading, so that
chunks are large under a backlog. A group that is far behind fetches separately until it has reached
the position of the others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from celeriac.delivery import Group
from celeriac.delivery.advance import Advance, NewChunk
from celeriac.delivery.chunk_store import new_chunk_id
from celeriac.delivery.fetch_size import FETCH_TIME_US, MAX_FETCH_BYTES, UNMEASURED, FetchSize
from celeriac.dispatcher.group_state import UNKNOWN, GroupState, ReadEntry
from celeriac.dispatcher.interest_index import InterestIndex
from celeriac.errors import InvalidEvent
from celeriac.event import read_header
from celeriac.event_log import Entry, entry_key

REMEMBERED = 2000  # entries that were read last
SHARED_FROM = 4  # groups in one domain; fewer groups fetch separately, in one round trip
PAGE = 1000  # entries
# A handler that wants more than this share of a backlog fetches separately. With fewer entries the
# share is not significant.
DENSE, DENSE_FROM = 0.5, 100


@dataclass(slots=True)
class DomainReading:
    """The shared reading of one domain.

    `groups` are all of the dispatcher's groups in the domain. `upto` is the last entry that was
    read, or the newest one before the first read, and `count` the number of read entries.
    `is_behind`: there may be more. `poll_at` is when the groups are advanced, by the dispatcher's
    clock in seconds. `is_woken`: deliveries are due now. `is_away`: the domain could not be read.
    `newest` are the last entries that were read. `read_before` is Redis' count of entries before
    the first one, negative if unknown. `waiting` are the groups with prefetched entries, the
    longest waiting first; of these, the `dense` ones want most of a backlog.

    A shared group may still be at an earlier position. Its handler wants no entry in between except
    the prefetched ones, so it is advanced past them later, together with others. The `count` of a
    group is the reading's count at the group's position, negative if unknown.
    """

    domain: str
    groups: Mapping[Group, GroupState]
    index: InterestIndex
    upto: str
    count: int = 0
    is_behind: bool = False
    is_away: bool = False
    poll_at: float = float("-inf")
    is_woken: bool = False
    size: FetchSize = field(default_factory=lambda: FetchSize(PAGE))
    newest: deque[str] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    read_before: int = -1
    waiting: dict[Group, GroupState] = field(default_factory=dict)
    dense: set[Group] = field(default_factory=set)

    @property
    def shared(self) -> list[GroupState]:
        """Return the groups that share the reading."""
        return [state for state in self.groups.values() if state.is_shared]

    @property
    def has_shared(self) -> bool:
        """Return whether any group shares the reading."""
        return any(state.is_shared for state in self.groups.values())

    @property
    def bytes_ahead(self) -> float:
        """Return the approximate bytes of prefetched entries."""
        entries = sum(len(state.prefetched) for state in self.waiting.values())
        return entries * self.size.mean_bytes

    def serve(self, groups: Iterable[GroupState], index: InterestIndex) -> None:
        """Read for these groups from now on."""
        self.groups, self.index = {state.group: state for state in groups}, index
        self.waiting = {g: state for g, state in self.waiting.items() if g in self.groups}

    def add(self, entries: Sequence[Entry], *, is_full: bool) -> bool:
        """Select for each group the entries that it wants of those that were read next.

        `is_full`: there may be more behind them. Returns False if one is not a valid event: each
        group then fetches it separately.
        """
        wanted: dict[Group, list[ReadEntry]] = {}
        before, count, size, is_event = self.upto, self.count, 0, True
        for entry in entries:
            body = entry.body or b""
            try:
                groups = self.index.wanting(read_header(body, self.domain))
            except InvalidEvent:
                is_event = False
                break
            size += len(body)
            count += 1
            for group in groups:
                wanted.setdefault(group, []).append(ReadEntry(count, before, entry))
            before = entry.id
        self.newest.extend([entry.id for entry in entries[: count - self.count]])
        read = count - self.count
        self.size.note(read, read, size)
        self.upto, self.count, self.is_behind = before, count, is_full
        for group, some in wanted.items():
            state = self.groups[group]
            if not state.is_shared:
                continue
            state.size.note(read, len(some), size)
            state.prefetched.extend(some)
            self.waiting.setdefault(group, state)
            if is_full and read >= DENSE_FROM and len(some) > DENSE * read:
                self.dense.add(group)
        return is_event

    def note_fetched(self, groups: Sequence[GroupState], *, at_end: bool) -> None:
        """Record that these groups fetched separately; `at_end`: to the end of the log. Groups that
        have reached the reading's position share it again."""
        positions = [state.position for state in groups if state.position != UNKNOWN]
        shared = self.shared
        if positions and (at_end or not shared):
            # Begin where most groups are; if the log lost its end, begin there.
            furthest = max(positions, key=entry_key)
            before = self.upto
            self.upto = min(self.upto, furthest, key=entry_key) if shared else furthest
            if self.upto != before:
                self.newest.clear()
                self.read_before = -1
                for state in shared:
                    state.count = -1
                    self._forget_lost(state.prefetched)
        for state in groups:
            if state.position == UNKNOWN and at_end:
                state.position = self.upto
            state.is_shared = self.has_reached(state)
            state.count = self.count if state.position == self.upto else -1
            self.is_behind |= state.is_shared

    def _forget_lost(self, prefetched: deque[ReadEntry]) -> None:
        end = entry_key(self.upto)
        while prefetched and entry_key(prefetched[-1].entry.id) > end:
            prefetched.pop()

    def has_reached(self, state: GroupState) -> bool:
        """Return whether the group has received all that was read."""
        return state.position != UNKNOWN and entry_key(state.position) >= entry_key(self.upto)

    def is_waiting(self, state: GroupState) -> bool:
        """Return whether the group waits for entries, without those that another worker fetched."""
        prefetched = state.prefetched
        if prefetched and state.position != UNKNOWN:
            position = entry_key(state.position)
            while prefetched and entry_key(prefetched[0].entry.id) <= position:
                prefetched.popleft()
        if not prefetched:
            self.waiting.pop(state.group, None)
            self.dense.discard(state.group)
        return bool(prefetched)

    def note_read(self, count: int, entries_read: int) -> None:
        """Calibrate: Redis counts `entries_read` for a group whose position has this `count`."""
        if count >= 0 and entries_read >= 0:
            self.read_before = entries_read - count

    def without_look_up(self, plan: PlannedAdvance) -> Advance:
        """Return the advance so that the store need not look up the group, if enough is known."""
        behind = self.count - plan.state.count
        is_known = self.read_before >= 0 and plan.state.count >= 0
        if not is_known or not 0 < behind <= len(self.newest):
            return plan.move
        following, read = self.newest[-behind], self.read_before + plan.count
        return replace(plan.move, following=following, read=read)

    def catch_up(self, state: GroupState) -> Advance:
        """Return how to advance the group past what was read.

        If the group does not share the reading, is up to date, or waits for entries, the result
        only reads its position.
        """
        count = self.count - state.count if state.count >= 0 else -1
        is_ahead = not state.is_shared or bool(state.prefetched) or self.has_reached(state)
        after = UNKNOWN if is_ahead else state.position
        return Advance(state.group, after, self.upto, count, state.handler.interests)


@dataclass(frozen=True, slots=True)
class PlannedAdvance:
    """`chosen` are the entries of the chunk to open. `count` is the reading's count at the entry
    that the group advances to. `leaves`: the group fetches separately afterwards."""

    reading: DomainReading
    state: GroupState
    move: Advance
    chosen: Sequence[ReadEntry]
    count: int
    leaves: bool = False


def plan_chunk(reading: DomainReading, state: GroupState) -> PlannedAdvance:
    """Plan the next chunk of a group that waits for entries. Pure except for the chunk's id."""
    chosen = _within_size(state)
    first, last = chosen[0], chosen[-1]
    is_all = len(chosen) == len(state.prefetched)
    is_sparse = last.number - first.number >= len(chosen)
    named = tuple([read.entry.id for read in chosen]) if is_sparse else ()
    chunk = NewChunk(new_chunk_id(), first.before, last.entry.id, len(chosen), named)
    upto, count = (reading.upto, reading.count) if is_all else (last.entry.id, last.number)
    is_dense = state.group in reading.dense
    return PlannedAdvance(
        reading, state, _move(state, upto, count, chunk), chosen, count, leaves=is_dense
    )


def plan_leaving(reading: DomainReading, state: GroupState) -> PlannedAdvance | None:
    """Plan how to advance a group up to the entries that it will then fetch separately."""
    first = state.prefetched[0]
    if entry_key(first.before) <= entry_key(state.position):
        return None
    count = first.number - 1
    return PlannedAdvance(
        reading, state, _move(state, first.before, count, None), (), count, leaves=True
    )


def _move(state: GroupState, upto: str, count: int, chunk: NewChunk | None) -> Advance:
    entries = count - state.count if state.count >= 0 else -1
    return Advance(state.group, state.position, upto, entries, state.handler.interests, chunk)


def _within_size(state: GroupState) -> Sequence[ReadEntry]:
    """Return the first entries that together are about one fetch of work: see fetch_size.py."""
    batch = state.handler.batch or 1
    limit = max(batch, FETCH_TIME_US // state.mean_us if state.mean_us > 0 else UNMEASURED)
    chosen = list(islice(state.prefetched, min(limit, state.size.max_events)))
    size = 0
    for n, read in enumerate(chosen):
        size += len(read.entry.body or b"")
        if size > MAX_FETCH_BYTES and n:
            return chosen[:n]
    return chosen
