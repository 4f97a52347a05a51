"""Flow control per key in memory: which pending entries of a handler have a slot of their key, and
which are blocked. The scripts implement the same: see lua/_keyed.lua."""

from __future__ import annotations

import math
from bisect import insort
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import msgspec

from celeriac.delivery.state import DeliveryState
from celeriac.errors import InvalidEvent, SubscriptionError
from celeriac.event import compile_patterns, meant_for
from celeriac.event.addressing import effective_recipients, split_handlers
from celeriac.event_log import entry_key, entry_time_ms
from celeriac.flow_control import MAX_TOGETHER, FlowControl, key_of
from celeriac.store.memory.stream import PendingEntry, state_of
from celeriac.tenant import is_tenant_mark
from celeriac.unreadable import UNREADABLE

# The position in the sequence of a key. A replayed entry comes after all entries in the log then.
Position = tuple[tuple[int, int], bool, tuple[int, int]]


def position_of(entry: str) -> Position:
    return entry_key(entry), False, (0, 0)


def position_behind(last: tuple[int, int], entry: str) -> Position:
    """Return the position of an entry that runs again when `last` is the newest one of the log."""
    return last, True, entry_key(entry)


def _order_of(position: Position) -> float:
    (ms, sequence), _, _ = position
    return ms + min(sequence, 4095) / 4096


@dataclass(slots=True)
class Keyed:
    """One pending entry.

    `key` is None if the entry is not meant for the handler, and so is never blocked. An entry with
    `has_slot` counts as running for its key. An entry that `rides` is delivered together with an
    entry that has a slot.
    """

    key: str | None
    position: Position
    has_slot: bool = False
    is_blocked: bool = False
    rides: bool = False
    # The entry that is handled in its place, if it was coalesced.
    into: str = ""


@dataclass(slots=True)
class Quiet:
    """The entries of a key that wait until the key is quiet: since and until when, in ms."""

    since_ms: int
    until_ms: int = 0
    entries: list[str] = field(default_factory=list)


class KeyedEntries:
    """Every pending entry of one handler in one domain. The caller passes `flow` and `now`."""

    def __init__(self) -> None:
        self.entries: dict[str, Keyed] = {}
        self.running: defaultdict[str, int] = defaultdict(int)
        self._blocked: defaultdict[str, list[tuple[Position, str]]] = defaultdict(list)
        # Keys with blocked entries, by what they wait for: their turn, at a virtual time; or their
        # rate, until a time in ms. Any other such key waits for a slot.
        self._ready: dict[str, float] = {}
        self._throttled: dict[str, int] = {}
        self._arrivals: dict[str, float] = {}
        self._finishes: dict[str, float] = {}
        self._virtual = 0.0
        self._quiet: dict[str, Quiet] = {}

    def note(self, entry: str, key: str | None, position: Position, *, has_slot: bool) -> None:
        """Record a pending entry as it is, whatever the limits."""
        self.entries[entry] = Keyed(key, position, has_slot)
        if key is not None and has_slot:
            self.running[key] += 1

    def sync(
        self,
        pending: Iterable[tuple[str, PendingEntry]],
        key_of: Callable[[str], str | None],
        flow_control: FlowControl,
        now: int,
    ) -> None:
        """Record every pending entry, given in log order, and drop all others."""
        before = dict(pending)
        for entry in [entry for entry in self.entries if entry not in before]:
            self.leave(entry, flow_control, now)
        for entry, pending_entry in before.items():
            if entry in self.entries:
                continue
            key, state = key_of(entry), state_of(pending_entry.owner)
            runs = state in (DeliveryState.QUEUED, DeliveryState.RUNNING) or (
                flow_control.ordered and state is DeliveryState.SCHEDULED
            )
            self.note(entry, key, position_of(entry), has_slot=runs)
            if state is DeliveryState.BLOCKED and key is not None:
                self.block(entry, flow_control, now)

    def enter(
        self, entry: str, flow_control: FlowControl, now: int, *, has_room: bool = True
    ) -> bool:
        """Give a recorded entry a slot if it may have one now; else block it."""
        key = self.entries[entry].key
        assert key is not None
        has_turn = not self._blocked.get(key) and not (flow_control.fair and self._ready)
        if has_room and has_turn and self._may_start(key, flow_control, now):
            self._start(entry, flow_control, now)
            return True
        self.block(entry, flow_control, now)
        return False

    def block(self, entry: str, flow_control: FlowControl, now: int) -> None:
        """Block a recorded entry without a slot until its key allows it."""
        keyed = self.entries[entry]
        assert keyed.key is not None
        assert not keyed.has_slot
        keyed.is_blocked = True
        insort(self._blocked[keyed.key], (keyed.position, entry))
        self._update(keyed.key, flow_control, now)

    def leave(self, entry: str, flow_control: FlowControl, now: int) -> bool:
        """Remove an entry; return whether this unblocked another entry of its key."""
        is_noted = entry in self.entries
        freed = is_noted and self.give_up_slot(entry, flow_control, now)
        self.entries.pop(entry, None)
        return freed

    def give_up_slot(self, entry: str, flow_control: FlowControl, now: int) -> bool:
        """Make a recorded entry wait for its time instead of its key; return as `leave` does."""
        keyed = self.entries.get(entry)
        if keyed is None or keyed.key is None:
            return False
        if keyed.is_blocked:
            keyed.is_blocked = False
            self._blocked[keyed.key].remove((keyed.position, entry))
        if keyed.key in self._quiet and entry in self._quiet[keyed.key].entries:
            self._quiet[keyed.key].entries.remove(entry)
        if keyed.has_slot:
            keyed.has_slot = False
            self.running[keyed.key] -= 1
        keyed.rides = False
        self._update(keyed.key, flow_control, now)
        return keyed.key in self._ready or keyed.key in self._throttled

    def debounce(self, entry: str, flow_control: FlowControl) -> tuple[str, str] | None:
        """Make a recorded entry wait until its key is quiet.

        Returns the entry that is coalesced and the one that is handled in its place, if any.
        """
        key = self.entries[entry].key
        assert key is not None
        at = entry_time_ms(entry)
        quiet = self._quiet.setdefault(key, Quiet(at))
        quiet.until_ms = min(at + flow_control.quiet_ms, quiet.since_ms + flow_control.max_quiet_ms)
        coalesced = None
        if quiet.entries and flow_control.keep == "first":
            return entry, quiet.entries[0]
        if quiet.entries and flow_control.keep == "last":
            coalesced = quiet.entries.pop(), entry
        quiet.entries.append(entry)
        return coalesced

    def end_quiet(self, flow_control: FlowControl, now: int, read_until_ms: int) -> None:
        """Block the entries of keys that were quiet at `read_until_ms` until they get a slot.

        After the clock stepped back they wait at most `max_quiet_ms`.
        """
        for key, quiet in list(self._quiet.items()):
            if quiet.until_ms <= read_until_ms or quiet.until_ms > now + flow_control.max_quiet_ms:
                del self._quiet[key]
                for entry in quiet.entries:
                    self.block(entry, flow_control, now)

    def together_with(
        self, entry: str, flow_control: FlowControl, now: int, may_ride: Callable[[str], bool]
    ) -> list[str]:
        """Return the blocked entries of its key to deliver together with it, and unblock them.

        They are fewer than MAX_TOGETHER.
        """
        key = self.entries[entry].key
        assert key is not None
        blocked = self._blocked[key]
        riders = [item for item in blocked if may_ride(item[1])][: MAX_TOGETHER - 1]
        for item in riders:
            blocked.remove(item)
            self.entries[item[1]].is_blocked = False
            self.entries[item[1]].rides = True
        self._update(key, flow_control, now)
        return [other for _, other in riders]

    def earlier(self, entry: str) -> list[str]:
        """Return the entries that a blocked one waits for: those of its key that have a slot, and
        those that are blocked before it."""
        keyed = self.entries.get(entry)
        if keyed is None or not keyed.is_blocked:
            return []
        of_key = [(o.position, e, o) for e, o in self.entries.items() if o.key == keyed.key]
        of_key.sort(key=lambda item: item[0])
        started = [e for _, e, o in of_key if o.has_slot]
        return started + [e for p, e, o in of_key if o.is_blocked and p < keyed.position]

    def serve(self, flow_control: FlowControl, now: int) -> str | None:
        """Give a blocked entry a slot and return it; None if none may run."""
        for key in [key for key, at in self._throttled.items() if at <= now]:
            self._update(key, flow_control, now)
        while self._ready:
            key = min(self._ready, key=lambda ready: (self._ready[ready], ready.encode()))
            self._update(key, flow_control, now)
            if key not in self._ready:
                continue  # the limit was lowered since the key became ready
            _, entry = self._blocked[key].pop(0)
            self.entries[entry].is_blocked = False
            self._start(entry, flow_control, now)
            self._update(key, flow_control, now)
            return entry
        return None

    def correct_times(self, flow_control: FlowControl, now: int) -> None:
        """Check throttled keys again: the clock stepped back."""
        self._throttled = dict.fromkeys(self._throttled, 0)
        if flow_control.per_second is not None:
            # At most a full bucket: else a key would wait until the clock is where it was.
            for key in self._arrivals:
                _, _, self._arrivals[key] = self._bucket(key, flow_control.per_second, now)

    def next_ms(self) -> int | None:
        """Return when the next key may run that waits for its rate, or to be quiet."""
        quiet = [waiting.until_ms for waiting in self._quiet.values()]
        return min([*self._throttled.values(), *quiet], default=None)

    # -- limits

    def _update(self, key: str, flow_control: FlowControl, now: int) -> None:
        """Record what the key waits for."""
        self._throttled.pop(key, None)
        start = self._ready.pop(key, None)
        if not self.running[key]:
            del self.running[key]
        if not self._blocked[key]:
            del self._blocked[key]
            return
        if (
            flow_control.concurrency is not None
            and self.running.get(key, 0) >= flow_control.concurrency
        ):
            return
        allowed = self._allowed_at(key, flow_control, now)
        if allowed > now:
            self._throttled[key] = allowed
        elif not flow_control.fair:
            self._ready[key] = _order_of(self._blocked[key][0][0])
        else:
            earliest = max(self._virtual, self._finishes.get(key, 0.0))
            self._ready[key] = earliest if start is None else start

    def _may_start(self, key: str, flow_control: FlowControl, now: int) -> bool:
        is_below = (
            flow_control.concurrency is None or self.running.get(key, 0) < flow_control.concurrency
        )
        return is_below and self._allowed_at(key, flow_control, now) <= now

    def _start(self, entry: str, flow_control: FlowControl, now: int) -> None:
        keyed = self.entries[entry]
        assert keyed.key is not None
        keyed.has_slot = True
        self.running[keyed.key] += 1
        if flow_control.per_second is not None:
            step, _, arrival = self._bucket(keyed.key, flow_control.per_second, now)
            self._arrivals[keyed.key] = arrival + step
        if flow_control.fair:
            # Start-time fair queueing (Goyal, Vin and Cheng, 1996), each delivery at the same cost.
            earliest = max(self._virtual, self._finishes.get(keyed.key, 0.0))
            start = self._ready.pop(keyed.key, earliest)
            self._virtual = max(self._virtual, start)
            self._finishes[keyed.key] = start + 1 / flow_control.weight(keyed.key)

    def _allowed_at(self, key: str, flow_control: FlowControl, now: int) -> int:
        if flow_control.per_second is None:
            return now
        step, depth, arrival = self._bucket(key, flow_control.per_second, now)
        return max(now, math.ceil(arrival + step - depth - 1e-6))

    def _bucket(self, key: str, per_second: float, now: int) -> tuple[float, float, float]:
        """Return the step, the depth and the arrival time of the generic cell rate algorithm, as in
        lua/rate.lua: the burst is what one second allows."""
        step = 1000 / per_second
        depth = max(1000.0, step)
        return step, depth, min(max(self._arrivals.get(key, 0.0), now), now + depth)


def key_in_force(
    body: bytes, flow_control: FlowControl, handler: str, patterns: Sequence[str]
) -> str | None:
    """Return the key of an event; None if no code of the handler wants the event.

    Such an event is never blocked and blocks no other.
    """
    try:
        event = msgspec.json.decode(body)
    except UNREADABLE:
        event = None
    if not isinstance(event, dict):
        return None if flow_control.quiet_ms else ""
    return key_of(event, flow_control.key) if _is_meant(event, handler, patterns) else None


def _is_meant(event: dict[str, object], handler: str, patterns: Sequence[str]) -> bool:
    type = event.get("type")
    patterns = [text for text in patterns if not is_tenant_mark(text)]
    matches = not patterns or (isinstance(type, str) and compile_patterns(*patterns).matches(type))
    try:
        names = effective_recipients(split_handlers(event.get("handlers")), event.get("redriven"))
    except (InvalidEvent, SubscriptionError):
        return matches
    return meant_for(handler, matches, names)
