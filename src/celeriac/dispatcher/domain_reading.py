"""Reading a domain once for all consumer groups of the service that stand together in it.

A thousand groups that each read the whole domain would read every entry a thousand times. So the
dispatcher reads what is new once, and notes for each group what its handler wants. That becomes a
chunk as soon as there is room for one: until then the dispatcher reads on, so that chunks are
large where there is a backlog. A group that is far behind fetches for itself until it stands with
the others again.
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
SHARED_FROM = 4  # groups in one domain: of fewer, each fetches in one round trip for itself
PAGE = 1000  # entries
# A handler that wants more of a backlog than that share fetches for itself; of fewer entries the
# share says little.
DENSE, DENSE_FROM = 0.5, 100


@dataclass(slots=True)
class DomainReading:
    """`groups` are all of the dispatcher's in the domain. `upto` is the last entry that was read,
    or the newest one before any was, and `count` how many were. `is_behind`: there may be more.
    `look_at` is when the groups are moved on, by the dispatcher's clock in seconds; `is_rung`:
    pending deliveries are due now; `is_away`: it could not be read. `newest` are the last entries
    that were read, and `read_before` is how many entries Redis counts that came before the first
    one of all, negative if that is unknown. `waiting` are the groups with entries that no chunk has
    yet, the one that waits longest first; of these, the `dense` ones want most of a backlog.

    A group that stands together may still be at an earlier position: its handler wants nothing of
    the entries in between but those that it waits for, so it is moved past them later, with the
    others. The `count` of a group is that of the reading at the group's position, negative where
    that is unknown.
    """

    domain: str
    groups: Mapping[Group, GroupState]
    index: InterestIndex
    upto: str
    count: int = 0
    is_behind: bool = False
    is_away: bool = False
    look_at: float = float("-inf")
    is_rung: bool = False
    size: FetchSize = field(default_factory=lambda: FetchSize(PAGE))
    newest: deque[str] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    read_before: int = -1
    waiting: dict[Group, GroupState] = field(default_factory=dict)
    dense: set[Group] = field(default_factory=set)

    @property
    def together(self) -> list[GroupState]:
        """Return the groups that stand together."""
        return [state for state in self.groups.values() if state.is_together]

    @property
    def has_together(self) -> bool:
        """Whether any groups stand together."""
        return any(state.is_together for state in self.groups.values())

    @property
    def bytes_ahead(self) -> float:
        """Return about how many bytes the entries have that no chunk has yet."""
        entries = sum(len(state.read_ahead) for state in self.waiting.values())
        return entries * self.size.mean_bytes

    def serve(self, groups: Iterable[GroupState], index: InterestIndex) -> None:
        """Read for these groups from now on."""
        self.groups, self.index = {state.group: state for state in groups}, index
        self.waiting = {group: one for group, one in self.waiting.items() if group in self.groups}

    def add(self, entries: Sequence[Entry], *, is_full: bool) -> bool:
        """Note for the groups what they want of the entries that were read next. `is_full`: there
        may be more behind them. False where one is no event: each group fetches it for itself."""
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
            if not state.is_together:
                continue
            state.size.note(read, len(some), size)
            state.read_ahead.extend(some)
            self.waiting.setdefault(group, state)
            if is_full and read >= DENSE_FROM and len(some) > DENSE * read:
                self.dense.add(group)
        return is_event

    def note_fetched(self, groups: Sequence[GroupState], *, at_end: bool) -> None:
        """These fetched for themselves, `at_end`: to the end of the log. Those that have what was
        read stand with the others again."""
        positions = [state.position for state in groups if state.position != UNKNOWN]
        together = self.together
        if positions and (at_end or not together):
            # To begin where most are; and where the log has lost its end, from there.
            furthest = max(positions, key=entry_key)
            before = self.upto
            self.upto = min(self.upto, furthest, key=entry_key) if together else furthest
            if self.upto != before:
                self.newest.clear()
                self.read_before = -1
                for state in together:
                    state.count = -1
                    self._forget_lost(state.read_ahead)
        for state in groups:
            if state.position == UNKNOWN and at_end:
                state.position = self.upto
            state.is_together = self.has_reached(state)
            state.count = self.count if state.position == self.upto else -1
            self.is_behind |= state.is_together

    def _forget_lost(self, read_ahead: deque[ReadEntry]) -> None:
        end = entry_key(self.upto)
        while read_ahead and entry_key(read_ahead[-1].entry.id) > end:
            read_ahead.pop()

    def has_reached(self, state: GroupState) -> bool:
        """Whether the group was given all that was read."""
        return state.position != UNKNOWN and entry_key(state.position) >= entry_key(self.upto)

    def is_waiting(self, state: GroupState) -> bool:
        """Whether the group waits for entries; without those that another worker has taken."""
        read_ahead = state.read_ahead
        if read_ahead and state.position != UNKNOWN:
            position = entry_key(state.position)
            while read_ahead and entry_key(read_ahead[0].entry.id) <= position:
                read_ahead.popleft()
        if not read_ahead:
            self.waiting.pop(state.group, None)
            self.dense.discard(state.group)
        return bool(read_ahead)

    def note_read(self, count: int, entries_read: int) -> None:
        """Redis counts so many entries that a group has read which stands at `count`."""
        if count >= 0 and entries_read >= 0:
            self.read_before = entries_read - count

    def without_look_up(self, one: PlannedAdvance) -> Advance:
        """Return the move so that the store need not look the group up, where enough is known."""
        behind = self.count - one.state.count
        if self.read_before < 0 or one.state.count < 0 or not 0 < behind <= len(self.newest):
            return one.move
        return replace(one.move, following=self.newest[-behind], read=self.read_before + one.count)

    def catch_up(self, state: GroupState) -> Advance:
        """Return how to move the group past what was read; for one that does not stand with the
        others, has it, or waits for some of it, a move that only tells where it stands."""
        count = self.count - state.count if state.count >= 0 else -1
        is_ahead = not state.is_together or bool(state.read_ahead) or self.has_reached(state)
        after = UNKNOWN if is_ahead else state.position
        return Advance(state.group, after, self.upto, count, state.handler.patterns)


@dataclass(frozen=True, slots=True)
class PlannedAdvance:
    """`chosen` are the entries of the chunk that is opened, `count` is that of the reading at the
    entry that the group moves to. It `leaves` the others then."""

    reading: DomainReading
    state: GroupState
    move: Advance
    chosen: Sequence[ReadEntry]
    count: int
    leaves: bool = False


def plan_chunk(reading: DomainReading, state: GroupState) -> PlannedAdvance:
    """Plan the next chunk of a group that waits for entries. Pure but for the id of the chunk."""
    chosen = _within_size(state)
    first, last = chosen[0], chosen[-1]
    is_all = len(chosen) == len(state.read_ahead)
    is_sparse = last.number - first.number >= len(chosen)
    named = tuple([one.entry.id for one in chosen]) if is_sparse else ()
    chunk = NewChunk(new_chunk_id(), first.before, last.entry.id, len(chosen), named)
    upto, count = (reading.upto, reading.count) if is_all else (last.entry.id, last.number)
    is_dense = state.group in reading.dense
    return PlannedAdvance(
        reading, state, _move(state, upto, count, chunk), chosen, count, leaves=is_dense
    )


def plan_leaving(reading: DomainReading, state: GroupState) -> PlannedAdvance | None:
    """Plan how a group moves up to what it waits for, which it then takes by itself."""
    first = state.read_ahead[0]
    if entry_key(first.before) <= entry_key(state.position):
        return None
    count = first.number - 1
    return PlannedAdvance(
        reading, state, _move(state, first.before, count, None), (), count, leaves=True
    )


def _move(state: GroupState, upto: str, count: int, chunk: NewChunk | None) -> Advance:
    entries = count - state.count if state.count >= 0 else -1
    return Advance(state.group, state.position, upto, entries, state.handler.patterns, chunk)


def _within_size(state: GroupState) -> Sequence[ReadEntry]:
    """Return the first ones that together are about a fetch of work: see fetch_size.py."""
    batch = state.handler.batch or 1
    most = max(batch, FETCH_TIME_US // state.mean_us if state.mean_us > 0 else UNMEASURED)
    chosen = list(islice(state.read_ahead, min(most, state.size.most)))
    size = 0
    for n, one in enumerate(chosen):
        size += len(one.entry.body or b"")
        if size > MAX_FETCH_BYTES and n:
            return chosen[:n]
    return chosen
