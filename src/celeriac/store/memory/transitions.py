"""The transitions of the delivery store in memory, each checked against `state.MOVES`."""

from __future__ import annotations

from typing import Literal

from celeriac.delivery.dead_letter import DeadLetter
from celeriac.delivery.delivery import Completion, Group
from celeriac.delivery.record import Row, refused_field
from celeriac.delivery.state import FINISHED, IN_FLIGHT, MOVES, DeliveryState, Outcome
from celeriac.store.memory.domain import MemoryDomain
from celeriac.store.memory.event_log import MemoryEventLog
from celeriac.store.memory.handler_store import HandlerStore
from celeriac.store.memory.keyed_entries import (
    KeyedEntries,
    key_in_force,
    position_behind,
    position_of,
)
from celeriac.store.memory.stream import MemoryGroup, PendingEntry, state_of

# An entry that is coalesced, and the one that is handled in its place.
Pair = tuple[str, str]

_RECORDED = {
    Outcome.PROCESSED: DeliveryState.PROCESSED,
    Outcome.SKIPPED: DeliveryState.SKIPPED,
    Outcome.COALESCED: DeliveryState.COALESCED,
    Outcome.DEAD: DeliveryState.DEAD,
}


class Transitions:
    """One handler in one domain at one moment. Used under the lock of the event log."""

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
        self.flow_control = group.flow_control
        self._event_log = event_log

    def correct_times(self) -> None:
        """After the clock stepped back, move scheduled times along and restart leases."""
        steps = self.store.clock_steps
        step = steps.observe(self.group.handler, self.now)
        if step and self.flow_control is not None:
            self.handler_store.keyed.correct_times(self.flow_control, self.now)
        for pending in self.consumers.pending.values() if step else ():
            if pending.due_ms is None:
                pending.since_ms = self.now
            else:
                pending.due_ms -= step

    def notify(self) -> None:
        self._event_log.notify(self.group.domain)

    def body(self, entry: str) -> bytes | None:
        return self.store.events.get(entry)

    def owned(self, entry: str, owner: str, attempt: int) -> PendingEntry | None:
        """Return the pending entry if this owner has it in this attempt."""
        pending = self.consumers.pending.get(entry)
        is_owner = pending is not None and pending.owner == owner and pending.count == attempt + 1
        return pending if is_owner else None

    # -- transitions of the dispatcher

    def queue(self, entry: str, owner: str) -> int:
        """Move an entry to `queued:W` from any state that allows it; return the attempts begun."""
        pending = self.consumers.pending.get(entry) or PendingEntry(owner, self.now)
        return self._move(entry, "fetch", owner, pending.count).count - 1

    def lose_run(self, entry: str, owner: str) -> int:
        """Count a run whose lease expired; return the number of them. 0 for any other holder."""
        if not owner.startswith("running:"):
            return 0
        lost = self.handler_store.lost_runs[entry] = self.handler_store.lost_runs.get(entry, 0) + 1
        return lost

    def receive(self, entry: str, body: bytes, owner: str, *, has_room: bool = True) -> bool:
        """Add a new entry; return False if its key blocks it."""
        if self.flow_control is not None:
            key = key_in_force(
                body, self.flow_control, self.group.handler, self.handler_store.patterns
            )
            self.handler_store.keyed.note(entry, key, position_of(entry), has_slot=False)
            if key is not None and not self._enter(entry, has_room):
                self._move(entry, "fetch", DeliveryState.BLOCKED)
                return False
        self._move(entry, "fetch", owner)
        return True

    def debounce(self, entry: str, body: bytes, owner: str) -> Pair | Literal[False] | None:
        """Add a new entry of a handler that waits until its keys are quiet.

        Returns the entry that is coalesced and the one that is handled in its place; None if there
        is none; False if the entry does not wait.

        An entry that may repeat an event does not wait: if the event was processed before, the
        entry would be ignored, and so would the entries coalesced into it.
        """
        flow_control = self.flow_control
        if flow_control is None or not flow_control.quiet_ms:
            return False
        key = key_in_force(body, flow_control, self.group.handler, self.handler_store.patterns)
        if key is None or (flow_control.keep != "all" and self.store.may_repeat(entry, body)):
            return False
        self.handler_store.keyed.note(entry, key, position_of(entry), has_slot=False)
        pair = self.handler_store.keyed.debounce(entry, flow_control)
        self._move(entry, "fetch", DeliveryState.BLOCKED)
        if pair is not None:
            self.handler_store.keyed.leave(pair[0], flow_control, self.now)
            self.handler_store.keyed.note(pair[0], None, position_of(pair[0]), has_slot=False)
            self.handler_store.keyed.entries[pair[0]].into = pair[1]
            self._move(pair[0], "fetch", owner)
        return pair

    def together_with(self, entry: str) -> list[str]:
        """Return the entries to deliver together with this one, if the handler receives lists."""
        flow_control = self.flow_control
        if flow_control is None or not flow_control.quiet_ms or flow_control.keep != "all":
            return []
        pending = self.consumers.pending
        if pending[entry].count > 1:
            return []  # an entry that was begun before runs alone
        return self.handler_store.keyed.together_with(
            entry, flow_control, self.now, lambda other: pending[other].count == 1
        )

    def block_rider(self, entry: str) -> bool:
        """Block an entry that was delivered together with one whose lease expired.

        Returns False if the entry was not delivered with another.
        """
        keyed, flow_control = self.handler_store.keyed.entries.get(entry), self.flow_control
        if keyed is None or flow_control is None or not keyed.rides:
            return False
        keyed.rides = False
        self._move(entry, "fetch", DeliveryState.BLOCKED, self.consumers.pending[entry].count)
        self.handler_store.keyed.block(entry, flow_control, self.now)
        return True

    def gather_due(self, entry: str) -> bool:
        """Make a due entry wait for its key; return False if it waits for none."""
        return self._waits_for_key(entry) and not self.take_due(entry, may_start=False)

    def take_due(self, entry: str, *, may_start: bool = True) -> bool:
        """Give a due entry its slot; return False if its key blocks it."""
        if self._waits_for_key(entry) and not self._enter(entry, may_start):
            count = self.consumers.pending[entry].count
            self._move(entry, "fetch", DeliveryState.BLOCKED, count)
            return False
        return True

    def _waits_for_key(self, entry: str) -> bool:
        keyed = self.handler_store.keyed.entries.get(entry)
        return keyed is not None and keyed.key is not None and not keyed.has_slot

    def next_ms(self) -> int | None:
        """Return when the next scheduled or throttled entry may run."""
        times = [pending.due_ms for pending in self.consumers.pending.values() if pending.due_ms]
        throttled = self.handler_store.keyed.next_ms()
        return min(times if throttled is None else [*times, throttled], default=None)

    def end_quiet(self, read_until_ms: int) -> None:
        if self.flow_control is not None:
            self.handler_store.keyed.end_quiet(self.flow_control, self.now, read_until_ms)

    def into(self, entry: str) -> str:
        keyed = self.handler_store.keyed.entries.get(entry)
        return keyed.into if keyed else ""

    def serve(self) -> str | None:
        """Return the next blocked entry that may run."""
        return (
            self.handler_store.keyed.serve(self.flow_control, self.now)
            if self.flow_control
            else None
        )

    def _enter(self, entry: str, has_room: bool = True) -> bool:
        assert self.flow_control is not None
        return self.handler_store.keyed.enter(entry, self.flow_control, self.now, has_room=has_room)

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
        """Free the slot of an entry that waits for its time, unless its key is ordered."""
        if self.flow_control is not None and not self.flow_control.ordered:
            self.handler_store.keyed.give_up_slot(entry, self.flow_control, self.now)

    # -- transitions of the executor

    def run(self, entry: str, owner: str, attempt: int) -> None:
        self._move(entry, "claim", owner, attempt + 1)

    def renew(self, entry: str, owner: str) -> None:
        self._move(entry, "renew", owner, self.consumers.pending[entry].count)

    def complete(self, completion: Completion, outcome: Outcome) -> None:
        entry, event_key = completion.entry, completion.event_key
        pending, handler_store = self.consumers.pending[entry], self.handler_store
        is_running = pending.owner.startswith("running:")
        if outcome is Outcome.RETRY:
            handler_store.add_failure(event_key, completion.failure, self.now)
            self._record(
                completion, DeliveryState.SCHEDULED, completion.attempt, completion.took_us
            )
            self._schedule(completion, pending.count)
        elif outcome is Outcome.REQUEUED:
            if (
                is_running
                and handler_store.unrecord(event_key, entry, self.now)
                and completion.attempt > 1
            ):
                self._record(completion, DeliveryState.SCHEDULED, completion.attempt - 1, 0)
            self._schedule(completion, pending.count - is_running)
        elif outcome is Outcome.IGNORED:
            if is_running:
                handler_store.unrecord(event_key, entry, self.now)
            self.acknowledge(entry, DeliveryState.IGNORED)
        elif outcome is Outcome.REFUSED:
            if is_running:
                handler_store.unrecord(event_key, entry, self.now)
            self.store.ids.contest(event_key, entry)
            handler_store.forget_refused(event_key, entry, self.now)
            field = refused_field(entry)
            self._dead_letter(completion, field)
            handler_store.record(
                field,
                DeliveryState.DEAD,
                entry,
                completion.attempts,
                completion.took_us,
                self.now,
            )
            self.acknowledge(entry, DeliveryState.DEAD)
        else:
            if outcome is Outcome.DEAD:
                self._dead_letter(completion, event_key)
            self._record(completion, _RECORDED[outcome], completion.attempts, completion.took_us)
            self.acknowledge(entry, _RECORDED[outcome])

    def acknowledge(self, entry: str, state: DeliveryState) -> None:
        """Remove an entry from the pending ones; notify dispatchers if this unblocks another."""
        self._move(entry, "complete", state)
        self.handler_store.lost_runs.pop(entry, None)
        if self.flow_control is not None and self.handler_store.keyed.leave(
            entry, self.flow_control, self.now
        ):
            self.notify()

    def _record(
        self, completion: Completion, state: DeliveryState, attempt: int, took_us: int
    ) -> None:
        self.handler_store.record(
            completion.event_key,
            state,
            completion.entry,
            attempt,
            took_us,
            self.now,
            into=completion.into,
        )

    def _schedule(self, completion: Completion, count: int) -> None:
        due_ms = self.now + completion.delay_ms
        self._move(completion.entry, "complete", DeliveryState.SCHEDULED, count, due_ms)
        self._give_up_slot(completion.entry)
        self.notify()

    def _dead_letter(self, completion: Completion, field: str) -> None:
        history = self.handler_store.add_failure(field, completion.failure, self.now)
        self.add_dead_letter(
            DeadLetter(
                id="",
                domain=self.group.domain,
                handler=self.group.handler,
                entry=completion.entry,
                event_key=completion.event_key,
                attempts=completion.attempts,
                error=completion.failure.error if completion.failure else "",
                traceback=completion.traceback,
                first_failed_ms=history[0].at if history else self.now,
                last_failed_ms=self.now,
                event=self.body(completion.entry) or b"",
            )
        )

    def add_dead_letter(self, dead_letter: DeadLetter) -> None:
        self.store.dead.append(self.now, dead_letter)

    # -- transitions of the operator

    def replay(self, entry: str, event_key: str, note: bytes) -> bool:
        """Replay a finished delivery; False if it is not, or the event is in flight elsewhere."""
        body = self.body(entry)
        if body is None or self.is_unfinished(entry, event_key):
            return False
        row, was = self._row(entry, event_key), DeliveryState.IGNORED
        if row is not None and row.entry == entry and row.state in FINISHED:
            was = row.state
        self.begin_again(entry, event_key, note)
        self.revive(entry, body, "replay", was)
        return True

    def is_unfinished(self, entry: str, event_key: str) -> bool:
        """Return whether the delivery waits or is in flight, or the event is in another entry."""
        pending = self.consumers.pending
        if entry in pending or (self.body(entry) is not None and self.consumers.waits_for(entry)):
            return True
        row = self._row(entry, event_key)
        in_flight = (DeliveryState.RUNNING, DeliveryState.SCHEDULED)
        return row is not None and row.state in in_flight and row.entry in pending

    def begin_again(self, entry: str, event_key: str, note: bytes) -> None:
        """Begin another life of a finished delivery: its row and its dead letter are removed."""
        row = self._row(entry, event_key)
        if row is not None and row.state is DeliveryState.DEAD:
            self.store.remove_dead_letter(self.group.handler, row.entry)
        self.handler_store.begin_again(event_key, entry, note.decode(), self.now)

    def _row(self, entry: str, event_key: str) -> Row | None:
        rows = self.handler_store.rows
        return rows.get(refused_field(entry), self.now) or rows.get(event_key, self.now)

    def revive(self, entry: str, body: bytes, call: str, was: DeliveryState) -> None:
        """Make a finished entry pending again: due at once, or behind those of its key."""
        if self.flow_control is not None:
            key = key_in_force(
                body, self.flow_control, self.group.handler, self.handler_store.patterns
            )
            behind = position_behind(self.store.events.last, entry)
            self.handler_store.keyed.note(entry, key, behind, has_slot=False)
            if self.flow_control.ordered and key is not None and not self._enter(entry):
                self._move(entry, call, DeliveryState.BLOCKED, was=was)
                return
        self._move(entry, call, DeliveryState.SCHEDULED, due_ms=self.now, was=was)

    # -- keys

    def sync(self) -> None:
        """Record every pending entry and drop all others.

        The consumer group may be a new one, or the handler may have had another flow control.
        """
        keyed, flow_control = self.handler_store.keyed, self.flow_control
        patterns = self.handler_store.patterns
        if flow_control is None:
            if keyed.entries:
                self.handler_store.keyed = KeyedEntries()
            return
        keyed.sync(
            self.consumers.sorted(),
            lambda entry: key_in_force(
                self.body(entry) or b"", flow_control, self.group.handler, patterns
            ),
            flow_control,
            self.now,
        )

    # -- every transition passes here

    def _move(
        self,
        entry: str,
        call: str,
        owner: str,
        count: int = 1,
        due_ms: int | None = None,
        was: DeliveryState = DeliveryState.WAITING,
    ) -> PendingEntry:
        pending = self.consumers.pending.get(entry)
        before = state_of(pending.owner) if pending else was
        after = state_of(owner)
        if after not in MOVES.get((before, call), frozenset()):
            raise AssertionError(f"{call} must not move {entry} from {before} to {after}")
        moved = PendingEntry(owner, self.now, count, due_ms)
        self.consumers.pending.pop(entry, None)
        if after in IN_FLIGHT:
            self.consumers.pending[entry] = moved
        return moved
