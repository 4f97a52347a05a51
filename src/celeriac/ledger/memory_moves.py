"""The moves of the in-memory ledger: each is looked up in `state.MOVES` before it is made."""

from __future__ import annotations

from collections.abc import Container

from celeriac.ledger.ledger import DeadLetter, Lane, Settled
from celeriac.ledger.memory_book import Book
from celeriac.ledger.row import refused_field
from celeriac.ledger.state import IN_FLIGHT, MOVES, SETTLED, Outcome, Place
from celeriac.log.memory import MemoryDomain, MemoryLog
from celeriac.log.memory_stream import Held, MemoryGroup

_RECORDED = {
    Outcome.PROCESSED: Place.PROCESSED,
    Outcome.SKIPPED: Place.SKIPPED,
    Outcome.DEAD: Place.DEAD,
}


class Moves:
    """One handler in one domain at one moment. Used under the lock of the log."""

    def __init__(self, log: MemoryLog, lane: Lane, group: MemoryGroup, book: Book) -> None:
        self.lane = lane
        self.group = group
        self.book = book
        self.store: MemoryDomain = log.store[lane.domain]
        self.now = log.clock.now_ms()
        self._log = log

    def correct_times(self) -> None:
        """After the clock stepped back: what is scheduled moves along, and leases begin again."""
        steps = self.store.clock_steps
        step = steps.note(self.lane.handler, self.now)
        for held in self.group.pending.values() if step else ():
            if held.due_ms is None:
                held.since_ms = self.now
            else:
                held.due_ms -= step

    def ring(self) -> None:
        self._log.ring(self.lane.domain)

    def body(self, entry: str) -> bytes | None:
        return self.store.events.get(entry)

    def held(self, entry: str, owner: str, attempt: int) -> Held | None:
        """The pending entry, if this owner holds it under this attempt."""
        held = self.group.pending.get(entry)
        return held if held and held.owner == owner and held.count == attempt + 1 else None

    # -- the dispatcher's moves

    def queue(self, entry: str, owner: str) -> int:
        """To `queued:W` from wherever it may be taken; returns the attempts begun."""
        held = self.group.pending.get(entry) or Held(owner, self.now)
        return self._move(entry, "take", owner, held.count).count - 1

    def lose_run(self, entry: str, owner: str) -> int:
        """Counts a run whose lease is over; returns how many there were. 0 for any other holder."""
        if not owner.startswith("running:"):
            return 0
        lost = self.book.lost_runs[entry] = self.book.lost_runs.get(entry, 0) + 1
        return lost

    def receive(self, entry: str, body: bytes, owner: str) -> bool:
        """A new entry; False if it has to wait in its lane."""
        if self.lane.ordered and not self._enters_as_head(entry, body):
            self._move(entry, "take", Place.PARKED)
            return False
        self._move(entry, "take", owner)
        return True

    def hand_back(self, entry: str) -> None:
        self._move(entry, "hand_back", Place.DUE, self.group.pending[entry].count, self.now)

    # -- the executor's moves

    def run(self, entry: str, owner: str, attempt: int) -> None:
        self._move(entry, "claim", owner, attempt + 1)

    def renew(self, entry: str, owner: str) -> None:
        self._move(entry, "renew", owner, self.group.pending[entry].count)

    def finish(self, one: Settled, outcome: Outcome) -> None:
        held, book = self.group.pending[one.entry], self.book
        if outcome is Outcome.RETRY:
            book.add_failure(one.event_key, one.failure, self.now)
            self._record(one, Place.DUE, one.attempt, one.took_us)
            self._postpone(one, held.count)
        elif outcome is Outcome.RELEASED:
            running = held.owner.startswith("running:")
            if running and book.unrecord(one.event_key, one.entry, self.now) and one.attempt > 1:
                self._record(one, Place.DUE, one.attempt - 1, 0)
            self._postpone(one, held.count - running)
        elif outcome is Outcome.IGNORED:
            if held.owner.startswith("running:"):
                book.unrecord(one.event_key, one.entry, self.now)
            self.settle(one.entry, Place.IGNORED)
        elif outcome is Outcome.REFUSED:
            if held.owner.startswith("running:"):
                book.unrecord(one.event_key, one.entry, self.now)
            self.store.ids.contest(one.event_key, one.entry)
            field = refused_field(one.entry)
            self._bury(one, field)
            book.record(field, Place.DEAD, one.entry, one.attempts, one.took_us, self.now)
            self.settle(one.entry, Place.DEAD)
        else:
            if outcome is Outcome.DEAD:
                self._bury(one, one.event_key)
            self._record(one, _RECORDED[outcome], one.attempts, one.took_us)
            self.settle(one.entry, _RECORDED[outcome])

    def settle(self, entry: str, place: Place) -> None:
        """Out of the pending entries, and out of its lane."""
        self._move(entry, "finish", place)
        self.book.lost_runs.pop(entry, None)
        if self.lane.ordered:
            lane = self.book.lanes.leave(entry)
            if lane is not None:
                self._open(lane, self.group.pending)

    def _record(self, one: Settled, state: Place, attempt: int, took_us: int) -> None:
        self.book.record(one.event_key, state, one.entry, attempt, took_us, self.now)

    def _postpone(self, one: Settled, count: int) -> None:
        self._move(one.entry, "finish", Place.DUE, count, self.now + one.delay_ms)
        self.ring()

    def _bury(self, one: Settled, field: str) -> None:
        history = self.book.add_failure(field, one.failure, self.now)
        self.bury(
            DeadLetter(
                id="",
                domain=self.lane.domain,
                handler=self.lane.handler,
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
        body, pending = self.body(entry), self.group.pending
        if body is None or entry in pending or self.group.waits_for(entry):
            return False
        rows, was = self.book.rows, Place.IGNORED
        row = rows.get(refused_field(entry), self.now) or rows.get(event_key, self.now)
        if row is not None and row.state in (Place.RUNNING, Place.DUE) and row.entry in pending:
            return False
        if row is not None and row.state is Place.DEAD:
            self._unbury(row.entry)
        if row is not None and row.entry == entry and row.state in SETTLED:
            was = row.state
        self.book.begin_again(event_key, entry, note.decode(), self.now)
        self.revive(entry, body, "schedule", was)
        return True

    def _unbury(self, entry: str) -> None:
        for id, letter in self.store.dead.range("-", "+"):
            if letter.handler == self.lane.handler and letter.entry == entry:
                self.store.dead.remove(id)

    def revive(self, entry: str, body: bytes, call: str, was: Place) -> None:
        """A settled entry is pending anew: due at once, or parked in its lane."""
        if self.lane.ordered and not self._enters_as_head(entry, body):
            self._move(entry, call, Place.PARKED, was=was)
        else:
            self._move(entry, call, Place.DUE, due_ms=self.now, was=was)

    # -- lanes

    def _enters_as_head(self, entry: str, body: bytes) -> bool:
        lane = self.book.lanes.enter(entry, body)
        return self._open(lane, {*self.group.pending, entry}) == entry

    def _open(self, lane: str, pending: Container[str]) -> str | None:
        """Returns the head of the lane, which is due at once if it was parked."""
        head = self.book.lanes.head(lane, pending)
        held = self.group.pending.get(head or "")
        if head and held and held.owner == Place.PARKED:
            self._move(head, "finish", Place.DUE, held.count, self.now)
            self.ring()
        return head

    # -- the one place where anything is moved

    def _move(
        self,
        entry: str,
        call: str,
        owner: str,
        count: int = 1,
        due_ms: int | None = None,
        was: Place = Place.WAITING,
    ) -> Held:
        held = self.group.pending.get(entry)
        before = _place(held.owner) if held else was
        after = _place(owner)
        if after not in MOVES.get((before, call), frozenset()):
            raise AssertionError(f"{call} must not move {entry} from {before} to {after}")
        moved = Held(owner, self.now, count, due_ms)
        self.group.pending.pop(entry, None)
        if after in IN_FLIGHT:
            self.group.pending[entry] = moved
        return moved


def _place(owner: str) -> Place:
    return Place(owner.partition(":")[0])
