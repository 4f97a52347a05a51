"""Flow control per key in memory: which pending entries of a handler hold a slot of their key, and
which wait for one. The scripts do the same: see lua/_keyed.lua."""

from __future__ import annotations

import math
from bisect import insort
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from celeriac.event_log import entry_key, entry_time_ms
from celeriac.flow_control import MAX_TOGETHER, FlowControl

# Its place in the sequence of its key. A replayed entry is behind all that the log had at the time.
Position = tuple[tuple[int, int], bool, tuple[int, int]]


def position_of(entry: str) -> Position:
    return entry_key(entry), False, (0, 0)


def position_behind(last: tuple[int, int], entry: str) -> Position:
    """Of an entry that runs again when `last` is the newest one of the log."""
    return last, True, entry_key(entry)


def _order_of(position: Position) -> float:
    (ms, sequence), _, _ = position
    return ms + min(sequence, 4095) / 4096


@dataclass(slots=True)
class Keyed:
    """One pending entry. `key` is None where it is not meant for the handler, and so waits for no
    other; `has_slot` says that it counts as running for its key. One that `rides` is given together
    with one that has a slot."""

    key: str | None
    position: Position
    has_slot: bool = False
    is_blocked: bool = False
    rides: bool = False
    # The entry that stands for it, where it was coalesced.
    into: str = ""


@dataclass(slots=True)
class Quiet:
    """The entries of a key that wait until it is quiet: since and until when, in ms."""

    since_ms: int
    until_ms: int = 0
    entries: list[str] = field(default_factory=list)


class KeyedEntries:
    """Every pending entry of one handler in one domain. `flow` and `now` are the caller's."""

    def __init__(self) -> None:
        self.entries: dict[str, Keyed] = {}
        self.running: defaultdict[str, int] = defaultdict(int)
        self._blocked: defaultdict[str, list[tuple[Position, str]]] = defaultdict(list)
        # Keys with blocked entries, by what they wait for: their turn, at a virtual time; or their
        # rate, until a time in ms. Any other such key waits for one of its slots.
        self._ready: dict[str, float] = {}
        self._throttled: dict[str, int] = {}
        self._arrivals: dict[str, float] = {}
        self._finishes: dict[str, float] = {}
        self._virtual = 0.0
        self._quiet: dict[str, Quiet] = {}

    def note(self, entry: str, key: str | None, position: Position, *, has_slot: bool) -> None:
        """Note a pending entry as it is, whatever the limits."""
        self.entries[entry] = Keyed(key, position, has_slot)
        if key is not None and has_slot:
            self.running[key] += 1

    def enter(self, entry: str, flow: FlowControl, now: int, *, has_room: bool = True) -> bool:
        """Give a noted entry its slot, if it may have one now; else block it."""
        key = self.entries[entry].key
        assert key is not None
        has_turn = not self._blocked.get(key) and not (flow.fair and self._ready)
        if has_room and has_turn and self._may_start(key, flow, now):
            self._start(entry, flow, now)
            return True
        self.block(entry, flow, now)
        return False

    def block(self, entry: str, flow: FlowControl, now: int) -> None:
        """Let a noted entry without a slot wait for its key."""
        one = self.entries[entry]
        assert one.key is not None
        assert not one.has_slot
        one.is_blocked = True
        insort(self._blocked[one.key], (one.position, entry))
        self._update(one.key, flow, now)

    def leave(self, entry: str, flow: FlowControl, now: int) -> bool:
        """Forget an entry; return whether one that was behind it is no longer so."""
        is_noted = entry in self.entries
        freed = is_noted and self.give_up_slot(entry, flow, now)
        self.entries.pop(entry, None)
        return freed

    def give_up_slot(self, entry: str, flow: FlowControl, now: int) -> bool:
        """Let a noted entry wait for its time and not for its key; return as `leave` does."""
        one = self.entries.get(entry)
        if one is None or one.key is None:
            return False
        if one.is_blocked:
            one.is_blocked = False
            self._blocked[one.key].remove((one.position, entry))
        if one.key in self._quiet and entry in self._quiet[one.key].entries:
            self._quiet[one.key].entries.remove(entry)
        if one.has_slot:
            one.has_slot = False
            self.running[one.key] -= 1
        one.rides = False
        self._update(one.key, flow, now)
        return one.key in self._ready or one.key in self._throttled

    def debounce(self, entry: str, flow: FlowControl) -> tuple[str, str] | None:
        """Let a noted entry wait until its key is quiet. Return the entry that is coalesced, and
        the one that stands for it."""
        key = self.entries[entry].key
        assert key is not None
        at = entry_time_ms(entry)
        quiet = self._quiet.setdefault(key, Quiet(at))
        quiet.until_ms = min(at + flow.quiet_ms, quiet.since_ms + flow.max_quiet_ms)
        coalesced = None
        if quiet.entries and flow.keep == "first":
            return entry, quiet.entries[0]
        if quiet.entries and flow.keep == "last":
            coalesced = quiet.entries.pop(), entry
        quiet.entries.append(entry)
        return coalesced

    def end_quiet(self, flow: FlowControl, now: int, read_until_ms: int) -> None:
        """Let the entries of keys that were quiet at `read_until_ms` wait for a slot. After the
        clock stepped back these wait for no longer than `flow` says."""
        for key, quiet in list(self._quiet.items()):
            if quiet.until_ms <= read_until_ms or quiet.until_ms > now + flow.max_quiet_ms:
                del self._quiet[key]
                for entry in quiet.entries:
                    self.block(entry, flow, now)

    def together_with(
        self, entry: str, flow: FlowControl, now: int, may_ride: Callable[[str], bool]
    ) -> list[str]:
        """The blocked entries of its key that are given together with it, and are blocked no more;
        fewer than MAX_TOGETHER."""
        key = self.entries[entry].key
        assert key is not None
        there = self._blocked[key]
        found = [one for one in there if may_ride(one[1])][: MAX_TOGETHER - 1]
        for one in found:
            there.remove(one)
            self.entries[one[1]].is_blocked = False
            self.entries[one[1]].rides = True
        self._update(key, flow, now)
        return [other for _, other in found]

    def earlier(self, entry: str) -> list[str]:
        """Return the entries that a blocked one waits for: those of its key that have a slot, and
        those that are blocked before it."""
        one = self.entries.get(entry)
        if one is None or not one.is_blocked:
            return []
        of_key = [(o.position, e, o) for e, o in self.entries.items() if o.key == one.key]
        started = [e for _, e, o in sorted(of_key, key=lambda item: item[0]) if o.has_slot]
        return started + [e for p, e, o in sorted(of_key, key=lambda item: item[0])
                          if o.is_blocked and p < one.position]  # fmt: skip

    def serve(self, flow: FlowControl, now: int) -> str | None:
        """Give a blocked entry its slot; None where none may run."""
        for key in [key for key, at in self._throttled.items() if at <= now]:
            self._update(key, flow, now)
        while self._ready:
            key = min(self._ready, key=lambda one: (self._ready[one], one.encode()))
            self._update(key, flow, now)
            if key not in self._ready:
                continue  # the limit is lower than when it was noted
            _, entry = self._blocked[key].pop(0)
            self.entries[entry].is_blocked = False
            self._start(entry, flow, now)
            self._update(key, flow, now)
            return entry
        return None

    def forget_times(self) -> None:
        """Look again at what waits for its rate: the clock stepped back."""
        self._throttled = dict.fromkeys(self._throttled, 0)

    def next_ms(self) -> int | None:
        """When the next key may run that waits for its rate, or to be quiet."""
        quiet = [one.until_ms for one in self._quiet.values()]
        return min([*self._throttled.values(), *quiet], default=None)

    # -- limits

    def _update(self, key: str, flow: FlowControl, now: int) -> None:
        """Note what the key waits for."""
        self._throttled.pop(key, None)
        start = self._ready.pop(key, None)
        if not self.running[key]:
            del self.running[key]
        if not self._blocked[key]:
            del self._blocked[key]
            return
        if flow.concurrency is not None and self.running.get(key, 0) >= flow.concurrency:
            return
        allowed = self._allowed_at(key, flow, now)
        if allowed > now:
            self._throttled[key] = allowed
        elif not flow.fair:
            self._ready[key] = _order_of(self._blocked[key][0][0])
        else:
            own = max(self._virtual, self._finishes.get(key, 0.0))
            self._ready[key] = own if start is None else start

    def _may_start(self, key: str, flow: FlowControl, now: int) -> bool:
        is_below = flow.concurrency is None or self.running.get(key, 0) < flow.concurrency
        return is_below and self._allowed_at(key, flow, now) <= now

    def _start(self, entry: str, flow: FlowControl, now: int) -> None:
        one = self.entries[entry]
        assert one.key is not None
        one.has_slot = True
        self.running[one.key] += 1
        if flow.per_second is not None:
            step, _, arrival = self._bucket(one.key, flow.per_second, now)
            self._arrivals[one.key] = arrival + step
        if flow.fair:
            # Start-time fair queueing (Goyal, Vin and Cheng, 1996), each delivery at the same cost.
            own = max(self._virtual, self._finishes.get(one.key, 0.0))
            start = self._ready.pop(one.key, own)
            self._virtual = max(self._virtual, start)
            self._finishes[one.key] = start + 1 / flow.weight(one.key)

    def _allowed_at(self, key: str, flow: FlowControl, now: int) -> int:
        if flow.per_second is None:
            return now
        step, depth, arrival = self._bucket(key, flow.per_second, now)
        return max(now, math.ceil(arrival + step - depth - 1e-6))

    def _bucket(self, key: str, per_second: float, now: int) -> tuple[float, float, float]:
        """The step, the depth and the arrival time of the generic cell rate algorithm, as in
        lua/rate.lua: a burst of one second's worth."""
        step = 1000 / per_second
        depth = max(1000.0, step)
        return step, depth, min(max(self._arrivals.get(key, 0.0), now), now + depth)
