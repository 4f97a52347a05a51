"""The moves of the in-memory ledger: each is looked up in `state.MOVES` before it is made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from celeriac.delivery.record import refused_field
from celeriac.delivery.state import FINISHED, IN_FLIGHT, MOVES, DeliveryState, Outcome
from celeriac.delivery.store import Completion, DeadLetter, Group
from celeriac.errors import InvalidEvent, SubscriptionError
from celeriac.event import compile_patterns, meant_for
from celeriac.event.addressing import effective_recipients, split_handlers
from celeriac.event_log import EntryKind, entry_time_ms
from celeriac.flow_control import FlowControl, key_of
from celeriac.store.memory.event_log import MemoryDomain, MemoryEventLog
from celeriac.store.memory.handler_store import HandlerStore
from celeriac.store.memory.keyed_entries import KeyedEntries, position_behind, position_of
from celeriac.store.memory.stream import Held, MemoryGroup

# An entry that is coalesced, and the one that stands for it.
Pair = tuple[str, str]

_RECORDED = {
    Outcome.PROCESSED: DeliveryState.PROCESSED,
    Outcome.SKIPPED: DeliveryState.SKIPPED,
    Outcome.COALESCED: DeliveryState.COALESCED,
    Outcome.DEAD: DeliveryState.DEAD,
}


class Transitions:
    """One handler in one domain at one moment. Used under the lock of the log."""

    def __init__(
        self,
        event_log: MemoryEventLog,
        group: Group,
        consumers: MemoryGroup,
        handler_store: HandlerStore,
    ) -> None:
        self.group = group
        self.consumers = consumers
        self.handler_store = handler_store
        self.store: MemoryDomain = event_log.store[group.domain]
        self.now = event_log.clock.now_ms()
        self.flow = group.flow
        self._log = event_log

    def correct_times(self) -> None:
        """After the clock stepped back: what is scheduled moves along, and leases begin again."""
        steps = self.store.clock_steps
        step = steps.observe(self.group.handler, self.now)
        if step:
            self.handler_store.keyed.forget_times()
        for held in self.consumers.pending.values() if step else ():
            if held.due_ms is None:
                held.since_ms = self.now
            else:
                held.due_ms -= step

    def ring(self) -> None:
        self._log.ring(self.group.domain)

    def body(self, entry: str) -> bytes | None:
        return self.store.events.get(entry)

    def held(self, entry: str, owner: str, attempt: int) -> Held | None:
        """The pending entry, if this owner holds it under this attempt."""
        held = self.consumers.pending.get(entry)
        return held if held and held.owner == owner and held.count == attempt + 1 else None

    # -- the dispatcher's moves

    def queue(self, entry: str, owner: str) -> int:
        """To `queued:W` from wherever it may be taken; returns the attempts begun."""
        held = self.consumers.pending.get(entry) or Held(owner, self.now)
        return self._move(entry, "fetch", owner, held.count).count - 1

    def lose_run(self, entry: str, owner: str) -> int:
        """Counts a run whose lease is over; returns how many there were. 0 for any other holder."""
        if not owner.startswith("running:"):
            return 0
        lost = self.handler_store.lost_runs[entry] = self.handler_store.lost_runs.get(entry, 0) + 1
        return lost

    def receive(self, entry: str, body: bytes, owner: str, *, has_room: bool = True) -> bool:
        """A new entry; False if it waits for its key."""
        if self.flow is not None:
            key = key_in_force(body, self.flow, self.group.handler, self.handler_store.patterns)
            self.handler_store.keyed.note(entry, key, position_of(entry), has_slot=False)
            if key is not None and not self._enter(entry, has_room):
                self._move(entry, "fetch", DeliveryState.BLOCKED)
                return False
        self._move(entry, "fetch", owner)
        return True

    def debounce(self, entry: str, body: bytes, owner: str) -> Pair | Literal[False] | None:
        """A new entry of a handler that waits until its keys are quiet: the entry that is coalesced
        and the one that stands for it, None if there is none; False if it does not wait.

        An entry that may repeat an event does not wait: the other one would stand for nothing if
        it was processed before.
        """
        flow = self.flow
        if flow is None or not flow.quiet_ms:
            return False
        key = key_in_force(body, flow, self.group.handler, self.handler_store.patterns)
        if key is None or (flow.keep != "all" and self._may_repeat(entry, body)):
            return False
        self.handler_store.keyed.note(entry, key, position_of(entry), has_slot=False)
        pair = self.handler_store.keyed.debounce(entry, flow)
        self._move(entry, "fetch", DeliveryState.BLOCKED)
        if pair is not None:
            self.handler_store.keyed.leave(pair[0], flow, self.now)
            self.handler_store.keyed.note(pair[0], None, position_of(pair[0]), has_slot=False)
            self.handler_store.keyed.entries[pair[0]].into = pair[1]
            self._move(pair[0], "fetch", owner)
        return pair

    def _may_repeat(self, entry: str, body: bytes) -> bool:
        if self.store.entry(entry, body).kind not in (EntryKind.MADE, EntryKind.GIVEN):
            return True
        at = entry_time_ms(entry)
        return self.store.ids.is_ambiguous(at, at)

    def together_with(self, entry: str) -> list[str]:
        """Those that are given together with the entry, where the handler is given all of a key."""
        flow = self.flow
        if flow is None or not flow.quiet_ms or flow.keep != "all":
            return []
        pending = self.consumers.pending
        if pending[entry].count > 1:
            return []  # what was begun before runs alone
        return self.handler_store.keyed.together_with(
            entry, flow, self.now, lambda other: pending[other].count == 1
        )

    def block_rider(self, entry: str) -> bool:
        """Whether the entry rode with another one whose lease is over: it waits for its key."""
        one, flow = self.handler_store.keyed.entries.get(entry), self.flow
        if one is None or flow is None or not one.rides:
            return False
        one.rides = False
        self._move(entry, "fetch", DeliveryState.BLOCKED, self.consumers.pending[entry].count)
        self.handler_store.keyed.block(entry, flow, self.now)
        return True

    def gather_due(self, entry: str) -> bool:
        """Let what waited for its time wait for its key; False if it waits for none."""
        return self._waits_for_key(entry) and not self.take_due(entry, may_start=False)

    def take_due(self, entry: str, *, may_start: bool = True) -> bool:
        """What waited for its time; False if it waits for its key now."""
        if self._waits_for_key(entry) and not self._enter(entry, may_start):
            held = self.consumers.pending[entry]
            self._move(entry, "fetch", DeliveryState.BLOCKED, held.count)
            return False
        return True

    def _waits_for_key(self, entry: str) -> bool:
        keyed = self.handler_store.keyed.entries.get(entry)
        return keyed is not None and keyed.key is not None and not keyed.has_slot

    def next_ms(self) -> int | None:
        """When something pending may run, as far as it waits for a time."""
        times = [held.due_ms for held in self.consumers.pending.values() if held.due_ms]
        throttled = self.handler_store.keyed.next_ms()
        return min(times if throttled is None else [*times, throttled], default=None)

    def end_quiet(self, read_until_ms: int) -> None:
        if self.flow is not None:
            self.handler_store.keyed.end_quiet(self.flow, self.now, read_until_ms)

    def into(self, entry: str) -> str:
        keyed = self.handler_store.keyed.entries.get(entry)
        return keyed.into if keyed else ""

    def serve(self) -> str | None:
        """An entry whose turn it is."""
        return self.handler_store.keyed.serve(self.flow, self.now) if self.flow else None

    def _enter(self, entry: str, has_room: bool = True) -> bool:
        assert self.flow is not None
        return self.handler_store.keyed.enter(entry, self.flow, self.now, has_room=has_room)

    def requeue(self, entry: str) -> None:
        self._move(
            entry,
            "requeue",
            DeliveryState.SCHEDULED,
            self.consumers.pending[entry].count,
            self.now,
        )
        self._give_up_slot(entry)

    def _give_up_slot(self, entry: str) -> None:
        """What waits for its time has no slot of its key, but where that is in order."""
        if self.flow is not None and not self.flow.ordered:
            self.handler_store.keyed.give_up_slot(entry, self.flow, self.now)

    # -- the executor's moves

    def run(self, entry: str, owner: str, attempt: int) -> None:
        self._move(entry, "claim", owner, attempt + 1)

    def renew(self, entry: str, owner: str) -> None:
        self._move(entry, "renew", owner, self.consumers.pending[entry].count)

    def complete(self, one: Completion, outcome: Outcome) -> None:
        held, handler_store = self.consumers.pending[one.entry], self.handler_store
        if outcome is Outcome.RETRY:
            handler_store.add_failure(one.event_key, one.failure, self.now)
            self._record(one, DeliveryState.SCHEDULED, one.attempt, one.took_us)
            self._postpone(one, held.count)
        elif outcome is Outcome.REQUEUED:
            running = held.owner.startswith("running:")
            if (
                running
                and handler_store.unrecord(one.event_key, one.entry, self.now)
                and one.attempt > 1
            ):
                self._record(one, DeliveryState.SCHEDULED, one.attempt - 1, 0)
            self._postpone(one, held.count - running)
        elif outcome is Outcome.IGNORED:
            if held.owner.startswith("running:"):
                handler_store.unrecord(one.event_key, one.entry, self.now)
            self.settle(one.entry, DeliveryState.IGNORED)
        elif outcome is Outcome.REFUSED:
            if held.owner.startswith("running:"):
                handler_store.unrecord(one.event_key, one.entry, self.now)
            self.store.ids.contest(one.event_key, one.entry)
            handler_store.forget_refused(one.event_key, one.entry, self.now)
            field = refused_field(one.entry)
            self._bury(one, field)
            handler_store.record(
                field, DeliveryState.DEAD, one.entry, one.attempts, one.took_us, self.now
            )
            self.settle(one.entry, DeliveryState.DEAD)
        else:
            if outcome is Outcome.DEAD:
                self._bury(one, one.event_key)
            self._record(one, _RECORDED[outcome], one.attempts, one.took_us)
            self.settle(one.entry, _RECORDED[outcome])

    def settle(self, entry: str, place: DeliveryState) -> None:
        """Out of the pending entries; what waited for its slot is looked for."""
        self._move(entry, "complete", place)
        self.handler_store.lost_runs.pop(entry, None)
        if self.flow is not None and self.handler_store.keyed.leave(entry, self.flow, self.now):
            self.ring()

    def _record(self, one: Completion, state: DeliveryState, attempt: int, took_us: int) -> None:
        self.handler_store.record(
            one.event_key, state, one.entry, attempt, took_us, self.now, into=one.into
        )

    def _postpone(self, one: Completion, count: int) -> None:
        self._move(one.entry, "complete", DeliveryState.SCHEDULED, count, self.now + one.delay_ms)
        self._give_up_slot(one.entry)
        self.ring()

    def _bury(self, one: Completion, field: str) -> None:
        history = self.handler_store.add_failure(field, one.failure, self.now)
        self.bury(
            DeadLetter(
                id="",
                domain=self.group.domain,
                handler=self.group.handler,
                entry=one.entry,
                event_key=one.event_key,
                attempts=one.attempts,
                error=one.failure.error if one.failure else "",
                traceback=one.traceback,
                first_failed_ms=history[0].at if history else self.now,
                last_failed_ms=self.now,
                event=self.body(one.entry) or b"",
            )
        )

    def bury(self, letter: DeadLetter) -> None:
        self.store.dead.append(self.now, letter)

    # -- the operator's moves

    def schedule(self, entry: str, event_key: str, note: bytes) -> bool:
        """Replays a settled delivery; False if it is not, or the event is in flight elsewhere."""
        body, pending = self.body(entry), self.consumers.pending
        if body is None or entry in pending or self.consumers.waits_for(entry):
            return False
        rows, was = self.handler_store.rows, DeliveryState.IGNORED
        row = rows.get(refused_field(entry), self.now) or rows.get(event_key, self.now)
        if (
            row is not None
            and row.state in (DeliveryState.RUNNING, DeliveryState.SCHEDULED)
            and row.entry in pending
        ):
            return False
        if row is not None and row.state is DeliveryState.DEAD:
            self._unbury(row.entry)
        if row is not None and row.entry == entry and row.state in FINISHED:
            was = row.state
        self.handler_store.begin_again(event_key, entry, note.decode(), self.now)
        self.revive(entry, body, "schedule", was)
        return True

    def _unbury(self, entry: str) -> None:
        for id, letter in self.store.dead.range("-", "+"):
            if letter.handler == self.group.handler and letter.entry == entry:
                self.store.dead.remove(id)

    def revive(self, entry: str, body: bytes, call: str, was: DeliveryState) -> None:
        """A settled entry is pending again: due at once, or behind those of its key."""
        if self.flow is not None:
            key = key_in_force(body, self.flow, self.group.handler, self.handler_store.patterns)
            behind = position_behind(self.store.events.last, entry)
            self.handler_store.keyed.note(entry, key, behind, has_slot=False)
            if self.flow.ordered and key is not None and not self._enter(entry):
                self._move(entry, call, DeliveryState.BLOCKED, was=was)
                return
        self._move(entry, call, DeliveryState.SCHEDULED, due_ms=self.now, was=was)

    # -- keys

    def sync(self) -> None:
        """Note every pending entry, and forget all others: the group may be another one, or the
        handler had another flow control before."""
        keyed, pending, flow = self.handler_store.keyed, self.consumers.pending, self.flow
        if flow is None:
            if keyed.entries:
                self.handler_store.keyed = KeyedEntries()
            return
        for entry in [entry for entry in keyed.entries if entry not in pending]:
            keyed.leave(entry, flow, self.now)
        for entry, held in self.consumers.sorted():
            if entry in keyed.entries:
                continue
            body, place = self.body(entry) or b"", _place(held.owner)
            key = key_in_force(body, flow, self.group.handler, self.handler_store.patterns)
            runs = place in (DeliveryState.QUEUED, DeliveryState.RUNNING) or (
                flow.ordered and place is DeliveryState.SCHEDULED
            )
            keyed.note(entry, key, position_of(entry), has_slot=runs)
            if place is DeliveryState.BLOCKED and key is not None:
                keyed.block(entry, flow, self.now)

    # -- the one place where anything is moved

    def _move(
        self,
        entry: str,
        call: str,
        owner: str,
        count: int = 1,
        due_ms: int | None = None,
        was: DeliveryState = DeliveryState.WAITING,
    ) -> Held:
        held = self.consumers.pending.get(entry)
        before = _place(held.owner) if held else was
        after = _place(owner)
        if after not in MOVES.get((before, call), frozenset()):
            raise AssertionError(f"{call} must not move {entry} from {before} to {after}")
        moved = Held(owner, self.now, count, due_ms)
        self.consumers.pending.pop(entry, None)
        if after in IN_FLIGHT:
            self.consumers.pending[entry] = moved
        return moved


def _place(owner: str) -> DeliveryState:
    return DeliveryState(owner.partition(":")[0])


def key_in_force(
    body: bytes, flow: FlowControl, handler: str, patterns: Sequence[str]
) -> str | None:
    """The key of an event; None where no code of the handler wants it, so that it waits for no
    other and no other for it."""
    try:
        event = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        event = None
    if not isinstance(event, dict):
        return None if flow.quiet_ms else ""
    return key_of(event, flow.key) if _is_meant(event, handler, patterns) else None


def _is_meant(event: dict[str, object], handler: str, patterns: Sequence[str]) -> bool:
    type = event.get("type")
    matches = not patterns or (isinstance(type, str) and compile_patterns(*patterns).matches(type))
    try:
        names = effective_recipients(split_handlers(event.get("handlers")), event.get("redriven"))
    except (InvalidEvent, SubscriptionError):
        return matches
    return meant_for(handler, matches, names)
