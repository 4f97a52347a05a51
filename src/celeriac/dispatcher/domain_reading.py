"""Reading a domain once for all consumer groups of the service that stand together in it.

A thousand groups that each read the whole domain would read every entry a thousand times. So the
dispatcher reads what is new, and moves each group past it; what its handler wants becomes a chunk.
A group that is behind, or that cannot take what its handler wants, leaves the others and fetches
for itself until it stands with them again.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from celeriac.delivery import Group
from celeriac.delivery.advance import Advance, NewChunk
from celeriac.delivery.chunk_store import new_chunk_id
from celeriac.delivery.fetch_size import FETCH_TIME_US, MAX_FETCH_BYTES, FetchSize
from celeriac.dispatcher.group_state import UNKNOWN, GroupState
from celeriac.dispatcher.interest_index import InterestIndex
from celeriac.errors import InvalidEvent
from celeriac.event import read_header
from celeriac.event_log import Entry, entry_key

SHARED_FROM = 4  # groups in one domain: of fewer, each fetches in one round trip for itself
PAGE = 500  # entries
DENSE = 0.5  # a handler that wants more of a backlog than that fetches for itself


@dataclass(slots=True)
class DomainReading:
    """`groups` are all of the dispatcher's in the domain. `upto` is the last entry that was read,
    or the newest one before any was, and `count` how many were. `is_behind`: there may be more.
    `look_at` is when the groups are moved on, by the dispatcher's clock in seconds; `is_rung`:
    pending deliveries are due now.

    A group that stands together may still be at an earlier position: its handler wants nothing of
    the entries in between, so it is moved past them later, with the others. The `count` of a group
    is that of the reading at the group's position, negative where that is unknown.
    """

    domain: str
    groups: Mapping[Group, GroupState]
    index: InterestIndex
    upto: str
    count: int = 0
    is_behind: bool = False
    look_at: float = float("-inf")
    is_rung: bool = False
    size: FetchSize = field(default_factory=lambda: FetchSize(PAGE))

    @property
    def together(self) -> list[GroupState]:
        """Return the groups that stand together."""
        return [state for state in self.groups.values() if state.is_together]

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
                for state in together:
                    state.count = -1
        for state in groups:
            if state.position == UNKNOWN and at_end:
                state.position = self.upto
            state.is_together = self.has_reached(state)
            state.count = self.count if state.position == self.upto else -1
            self.is_behind |= state.is_together

    def has_reached(self, state: GroupState) -> bool:
        """Whether the group was given all that was read."""
        return state.position != UNKNOWN and entry_key(state.position) >= entry_key(self.upto)

    def catch_up(self, state: GroupState) -> Advance:
        """Return how to move the group past what was read; for one that does not stand with the
        others, or has it, a move that only tells where it stands."""
        count = self.count - state.count if state.count >= 0 else -1
        is_ahead = not state.is_together or self.has_reached(state)
        after = UNKNOWN if is_ahead else state.position
        return Advance(state.group, after, self.upto, count, state.handler.patterns)


@dataclass(frozen=True, slots=True)
class Page:
    """Entries that were read after `before`, in the order of the log, and the `count` of those
    that were read before them. `is_full`: there may be more behind them. `wanted` maps groups to
    the indices of the entries that their handlers want.

    `is_cut`: the entry behind them is no event. Each group fetches it for itself.
    """

    before: str
    count: int
    entries: Sequence[Entry]
    wanted: Mapping[Group, Sequence[int]]
    is_full: bool
    is_cut: bool

    @property
    def upto(self) -> str:
        """Return the last entry."""
        return self.entries[-1].id

    def at(self, index: int) -> str:
        """Return the entry at the index; the one before the page at -1."""
        return self.entries[index].id if index >= 0 else self.before


def sort_page(reading: DomainReading, entries: Sequence[Entry], *, is_full: bool) -> Page:
    """Find out which groups want which of the entries that were read next."""
    wanted: dict[Group, list[int]] = {}
    before, count = reading.upto, reading.count
    for n, entry in enumerate(entries):
        try:
            event = read_header(entry.body or b"", reading.domain)
            groups = reading.index.wanting(event)
        except InvalidEvent:
            return Page(before, count, entries[:n], wanted, is_full, is_cut=True)
        for group in groups:
            wanted.setdefault(group, []).append(n)
    return Page(before, count, entries, wanted, is_full, is_cut=False)


@dataclass(frozen=True, slots=True)
class PlannedAdvance:
    """`chosen` are the indices of the page that the chunk is opened for, `end` is that of the entry
    that the group moves to. `stays`: the group then still stands with the others."""

    state: GroupState
    move: Advance | None
    chosen: Sequence[int] = ()
    end: int = -1
    stays: bool = True


def plan_advance(page: Page, state: GroupState, *, takes_chunk: bool) -> PlannedAdvance:
    """Plan how far the group moves, and what it is given. Pure but for the id of the chunk.

    `takes_chunk`: a chunk may be opened for it. It stops before what it wants and cannot take.
    """
    start = _index_after(page, state.position)
    if page.at(start - 1) == state.position:
        state.count = page.count + start
    wanted = [n for n in page.wanted.get(state.group, ()) if n >= start]
    dense = page.is_full and len(wanted) > DENSE * (len(page.entries) - start)
    chosen: Sequence[int] = _within_size(page, state, wanted) if takes_chunk else []
    is_all = len(chosen) == len(wanted)
    stays = is_all and not dense
    end = len(page.entries) - 1
    if not stays:
        end = chosen[-1] if is_all else wanted[len(chosen)] - 1
    upto = page.at(end)
    if entry_key(upto) <= entry_key(state.position):
        return PlannedAdvance(state, None, stays=stays)
    chunk = None
    if chosen:
        first, last = chosen[0], chosen[-1]
        chunk = NewChunk(new_chunk_id(), page.at(first - 1), page.at(last), last - first + 1)
    entries = page.count + end + 1 - state.count if state.count >= 0 else -1
    move = Advance(state.group, state.position, upto, entries, state.handler.patterns, chunk)
    return PlannedAdvance(state, move, chosen, end, stays)


def _index_after(page: Page, position: str) -> int:
    """Return the index of the first entry behind the position."""
    return bisect_right(page.entries, entry_key(position), key=lambda entry: entry_key(entry.id))


def _within_size(page: Page, state: GroupState, wanted: Sequence[int]) -> Sequence[int]:
    """Return the first ones that together are about a fetch of work: see fetch_size.py."""
    batch = state.handler.batch or 1
    most = max(batch, FETCH_TIME_US // state.mean_us if state.mean_us > 0 else 1)
    chosen = list(islice(wanted, min(most, state.size.most)))
    size = 0
    for n, index in enumerate(chosen):
        size += len(page.entries[index].body or b"")
        if size > MAX_FETCH_BYTES and n:
            return chosen[:n]
    return chosen
