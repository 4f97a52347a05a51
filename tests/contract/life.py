"""A state machine that leads deliveries through random lives; see test_delivery_life."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from celeriac.delivery import (
    CHUNK_MOVES,
    MAX_LOST_RUNS,
    MOVES,
    SETTLED,
    Claimed,
    DeadLetter,
    EditedLetter,
    FlowControl,
    Lane,
    Outcome,
    Place,
    Settled,
    Verdict,
    refused_field,
)
from celeriac.delivery.advance import Advance, NewChunk
from celeriac.delivery.chunk_store import Completion, FetchRequest
from celeriac.delivery.run_record import RunOutcome, pack_runs, run_code
from celeriac.event import event_key
from celeriac.event_log import entry_key
from celeriac.event_log.open_chunk import OpenChunk
from celeriac.settings import Settings
from tests.contract.store import DOMAIN, HOUR_MS, MemoryStore, RedisStore, Store, body, settled

PLAIN = Lane(DOMAIN, "plain")
ORDERED = Lane(DOMAIN, "ordered", FlowControl(ordered=True, concurrency=1))
LIMITED = Lane(DOMAIN, "limited", FlowControl(concurrency=2, fair=True, weights=(("a", 3.0),)))
# So slow that only `pass_hour` allows another one of a key.
RATED = Lane(DOMAIN, "rated", FlowControl(concurrency=1, per_second=1 / 3600))
LIMITS = st.sampled_from([ORDERED, LIMITED, RATED])
OF_HANDLER = {lane.handler: lane for lane in (PLAIN, ORDERED, LIMITED, RATED)}
WORKERS = st.sampled_from(["w1", "w2"])
MOST_ATTEMPTS = 3
MOST_SLOTS = 6
_runs = itertools.count()
ALL_MOVES = MOVES | CHUNK_MOVES

# Of a chunk's entries, those that need no record of their own.
_RUN_OUTCOMES = {
    Outcome.PROCESSED: RunOutcome.PROCESSED,
    Outcome.IGNORED: RunOutcome.IGNORED,
}

NEVER_OF_A_RUN = (Outcome.IGNORED, Outcome.COALESCED)
VERDICTS = {
    Verdict.RUN: Outcome.PROCESSED,
    Verdict.DUPLICATE: Outcome.IGNORED,
    Verdict.CONCURRENT: Outcome.RELEASED,
    Verdict.EXHAUSTED: Outcome.DEAD,
}


@dataclass
class Slot:
    """One entry of the log, by the names that the two implementations gave it."""

    event_id: str
    source: str
    subject: str
    entries: tuple[str, str]
    only: str = ""
    # The id was made by emit, so that no other entry has it: only such an event runs in a chunk.
    made: bool = False
    superseded: set[str] = field(default_factory=set)

    @property
    def key(self) -> str:
        return event_key(self.event_id, self.source)

    def body(self, **more: Any) -> bytes:
        return body(self.event_id, self.subject, source=self.source, **more)


@dataclass
class Held:
    """What an executor believes to hold, which may be long outlived."""

    worker: str
    lane: Lane
    slot: int
    attempt: int
    verdict: Verdict


@dataclass
class Chunk:
    """What a worker believes to hold of a chunk, which may be long reclaimed."""

    id: str
    worker: str
    slots: list[int]


class Life(RuleBasedStateMachine):
    url = ""

    def __init__(self) -> None:
        super().__init__()
        settings = Settings.load(
            {}, redis_url=self.url, namespace=f"life{next(_runs)}", retention_count=2
        )
        self.stores: tuple[Store, Store] = (MemoryStore(settings), RedisStore(settings))
        self.slots: list[Slot] = []
        self.hints: list[tuple[Lane, list[int]]] = []
        self.held: list[Held] = []
        self.chunks: list[Chunk] = []
        self._chunk_ids = itertools.count()
        self.places: dict[tuple[int, str], Place] = {}
        self.processed: Counter[tuple[str, str]] = Counter()
        self.allowed: Counter[tuple[str, str]] = Counter()
        # Dead deliveries whose letter is gone: an edited event stands for them.
        self.edited: set[tuple[int, str]] = set()
        self.call = ""
        self.lanes: tuple[Lane, ...] = ()

    @initialize(limits=LIMITS)
    def join(self, limits: Lane) -> None:
        self.lanes = (PLAIN, limits)
        for lane in self.lanes:
            for store in self.stores:
                store.log.join(DOMAIN, lane.handler, "0")

    # -- in lockstep

    def both(self, do: Callable[[Store, int], Any]) -> Any:
        first, second = (do(store, which) for which, store in enumerate(self.stores))
        assert first == second
        return first

    def slot_of(self, which: int, entry: str) -> int:
        return next(n for n, slot in enumerate(self.slots) if slot.entries[which] == entry)

    def entry(self, which: int, slot: int) -> str:
        return self.slots[slot].entries[which]

    # -- what happens

    def append(self, event_id: str, source: str, subject: str, *, made: bool = False) -> None:
        entries = tuple(store.emit(event_id, subject, source=source) for store in self.stores)
        self.slots.append(Slot(event_id, source, subject, (entries[0], entries[1]), made=made))

    @precondition(lambda self: len(self.slots) < MOST_SLOTS)
    @rule(subject=st.sampled_from("ab"), made=st.booleans())
    def emit(self, subject: str, made: bool) -> None:
        self.call = "append"
        self.append(f"e{len(self.slots)}", "shop", subject, made=made)

    @precondition(
        lambda self: len(self.slots) < MOST_SLOTS and not all(slot.made for slot in self.slots)
    )
    @rule(data=st.data())
    def emit_again(self, data: st.DataObject) -> None:
        self.call = "append"
        slot = data.draw(st.sampled_from([slot for slot in self.slots if not slot.made]))
        self.append(slot.event_id, slot.source, slot.subject)

    @precondition(lambda self: 0 < len(self.slots) < MOST_SLOTS)
    @rule(data=st.data(), subject=st.sampled_from("ab"))
    def emit_with_the_id_of_another_source(self, data: st.DataObject, subject: str) -> None:
        self.call = "append"
        slot = data.draw(st.sampled_from(self.slots))
        other = "rival" if slot.source == "shop" else "shop"
        if any(s.made and (s.event_id, s.source) == (slot.event_id, other) for s in self.slots):
            return  # an id that emit made is recognised by its mark, which these have not
        self.append(slot.event_id, other, subject)

    # -- chunks

    @rule(worker=WORKERS, count=st.integers(1, 3), running=st.booleans())
    def fetch(self, worker: str, count: int, running: bool) -> None:
        self.call = "fetch"
        chunk = f"chunk{next(self._chunk_ids)}"

        def fetch(store: Store, which: int) -> list[int]:
            request = FetchRequest(PLAIN, chunk, count, running)
            [fetched] = store.chunks.fetch(worker, [request])
            return [self.slot_of(which, entry.id) for entry in fetched.entries]

        if slots := self.both(fetch):
            self.chunks.append(Chunk(chunk, worker, slots))

    @rule(data=st.data(), worker=WORKERS, stands=st.booleans(), wants=st.booleans())
    def advance(self, data: st.DataObject, worker: str, stands: bool, wants: bool) -> None:
        """A dispatcher read some entries for all groups, and believes to know where this one
        stands."""
        self.call = "advance"
        if not self.slots:
            return
        ahead = self.both(self.ahead)
        first = ahead[0] if ahead and stands else data.draw(st.integers(0, len(self.slots) - 1))
        last = data.draw(st.integers(first, len(self.slots) - 1))
        # Only what it wants is in the chunk; what is given to other handlers too is in none.
        wanted = [n for n in range(first, last + 1) if self.slots[n].only in ("", PLAIN.handler)]
        if not wants and wanted:
            last, wanted = wanted[0] - 1, []
        if last < first:
            return
        chunk = f"chunk{next(self._chunk_ids)}"

        def advance(store: Store, which: int) -> bool:
            def at(slot: int) -> str:
                return self.entry(which, slot) if slot >= 0 else "0-0"

            new = None
            if wanted:
                low, high = wanted[0], wanted[-1]
                new = NewChunk(chunk, at(low - 1), at(high), high - low + 1)
            move = Advance(PLAIN, at(first - 1), at(last), last - first + 1, ("order.#",), new)
            [answer] = store.chunks.advance(worker, [move])
            return answer.is_moved

        if self.both(advance) and wanted:
            self.chunks.append(Chunk(chunk, worker, list(range(wanted[0], wanted[-1] + 1))))

    def ahead(self, store: Store, which: int) -> list[int]:
        """What the group was not given yet."""
        [group] = [one for one in store.log.groups(DOMAIN) if one.handler == PLAIN.handler]
        last = entry_key(group.last_delivered)
        return [n for n in range(len(self.slots)) if entry_key(self.entry(which, n)) > last]

    @precondition(lambda self: self.chunks)
    @rule(data=st.data(), worker=WORKERS)
    def begin(self, data: st.DataObject, worker: str) -> None:
        """A delivery task that names a chunk arrives, perhaps again, or at the wrong worker."""
        self.call = "begin"
        chunk = data.draw(st.sampled_from(self.chunks))

        def begin(store: Store, which: int) -> list[int] | None:
            entries = store.chunks.begin(worker, PLAIN, chunk.id)
            return None if entries is None else [self.slot_of(which, one.id) for one in entries]

        if self.both(begin) is not None:
            chunk.worker = worker

    @precondition(lambda self: self.chunks)
    @rule(
        data=st.data(),
        outcome=st.sampled_from([Outcome.PROCESSED, Outcome.RETRY, Outcome.SKIPPED, Outcome.DEAD]),
        again=st.booleans(),
    )
    def complete(self, data: st.DataObject, outcome: Outcome, again: bool) -> None:
        """A process says what became of the first entries of a chunk, perhaps twice or too late."""
        self.call = "complete"
        chunk = data.draw(st.sampled_from(self.chunks))
        done = chunk.slots[: data.draw(st.integers(1, len(chunk.slots)))]
        outcomes = {slot: self.outcome_in_chunk(slot, outcome) for slot in done}

        def complete(store: Store, which: int) -> bool:
            told = self.completion(which, outcomes)
            held = store.chunks.complete(chunk.worker, PLAIN, chunk.id, told)
            if held and again:
                store.chunks.complete(chunk.worker, PLAIN, chunk.id, told)
            return held

        if not self.both(complete):
            return
        chunk.slots = chunk.slots[len(done) :]
        if not chunk.slots:
            self.chunks.remove(chunk)
        for slot, what in outcomes.items():
            self.processed[self.slots[slot].key, PLAIN.handler] += what is Outcome.PROCESSED

    def outcome_in_chunk(self, slot: int, outcome: Outcome) -> Outcome:
        if self.slots[slot].only not in ("", PLAIN.handler):
            return Outcome.IGNORED
        return outcome if self.slots[slot].made else Outcome.RELEASED

    def completion(self, which: int, outcomes: dict[int, Outcome]) -> Completion:
        exceptions, codes = [], []
        for slot, outcome in outcomes.items():
            entry, code = self.entry(which, slot), _RUN_OUTCOMES.get(outcome)
            codes.append(run_code(RunOutcome.EXCEPTION if code is None else code, 10))
            if code is None:
                claimed = Claimed(entry, Verdict.RUN, 1, self.slots[slot].body())
                exceptions.append(settled(claimed, outcome))
        entries = [self.entry(which, slot) for slot in outcomes]
        record = pack_runs("w", 0, entries, codes)
        return Completion(entries[-1], len(entries), record, exceptions)

    @precondition(lambda self: self.chunks)
    @rule(data=st.data(), worker=WORKERS)
    def requeue(self, data: st.DataObject, worker: str) -> None:
        self.call = "requeue"
        chunk = data.draw(st.sampled_from(self.chunks))
        if self.both(lambda store, _: store.chunks.requeue(worker, PLAIN, chunk.id)):
            self.chunks.remove(chunk)

    @rule()
    def reclaim(self) -> None:
        """The leases of all chunks expire. Their owners go on, and may report too late."""
        self.call = "requeue"

        def reclaim(store: Store, _: int) -> int:
            with store.leases_over():
                return store.chunks.reclaim([PLAIN])

        self.both(reclaim)

    @rule(worker=WORKERS, limits=st.booleans(), over=st.booleans())
    def work(self, worker: str, limits: bool, over: bool) -> None:
        """A worker takes and claims; if leases were over, somebody has crashed."""
        lane = self.lanes[limits]
        for slots in self.take_all(worker, lane, over):
            self.observe()
            self.held += self.arrive(worker, lane, slots)

    @rule(worker=WORKERS, limits=st.booleans(), over=st.booleans())
    def take(self, worker: str, limits: bool, over: bool) -> None:
        lane = self.lanes[limits]
        self.hints += [(lane, slots) for slots in self.take_all(worker, lane, over)]

    def take_all(self, worker: str, lane: Lane, over: bool) -> list[list[int]]:
        """The hints that a dispatcher would send; what is not for the handler it settles."""
        self.call = "take"

        def take(store: Store, which: int) -> set[tuple[int, int, int]]:
            if over:
                taken = store.sweep(lane, worker)
                more = store.take(lane, worker)
                deliveries = taken.deliveries + more.deliveries
            else:
                deliveries = store.take(lane, worker).deliveries
            return {(self.slot_of(which, d.entry), d.attempts, d.lost_runs) for d in deliveries}

        attempts = {slot: begun for slot, begun, _ in sorted(self.both(take))}
        taken = list(attempts)
        meant = [slot for slot in taken if self.slots[slot].only in ("", lane.handler)]
        if strangers := [slot for slot in taken if slot not in meant]:
            self.observe()
            self.skip(worker, lane, strangers, Outcome.IGNORED)
        # What was begun before goes alone, as in dispatcher/chunk.py.
        fresh = [slot for slot in meant if attempts[slot] == 0]
        return [[slot] for slot in meant if attempts[slot]] + ([fresh] if fresh else [])

    def skip(self, worker: str, lane: Lane, slots: list[int], outcome: Outcome) -> None:
        self.call = "finish"

        def skip(store: Store, which: int) -> list[int]:
            said = []
            for slot in slots:
                entry = self.entry(which, slot)
                pending = store.ledger.pending(lane, entry)
                attempts = pending.attempts if pending else 0
                said.append(Settled(entry, self.slots[slot].key, attempts, outcome))
            return [self.slot_of(which, e) for e in store.ledger.skip(worker, lane, said)]

        self.both(skip)

    @precondition(lambda self: self.hints)
    @rule(
        data=st.data(),
        worker=WORKERS,
        outcome=st.sampled_from(
            [Outcome.SKIPPED, Outcome.RELEASED, Outcome.DEAD, Outcome.COALESCED]
        ),
    )
    def skip_one(self, data: st.DataObject, worker: str, outcome: Outcome) -> None:
        lane, slots = data.draw(st.sampled_from(self.hints))
        self.skip(worker, lane, slots[:1], outcome)

    @precondition(lambda self: self.hints)
    @rule(data=st.data(), worker=WORKERS, doubled=st.booleans())
    def claim(self, data: st.DataObject, worker: str, doubled: bool) -> None:
        """A hint arrives, at whichever worker; it may arrive again. One never drawn is lost."""
        n = data.draw(st.integers(0, len(self.hints) - 1))
        lane, slots = self.hints[n] if doubled else self.hints.pop(n)
        self.held += self.arrive(worker, lane, slots + slots[:1] if len(slots) > 1 else slots)

    def arrive(self, worker: str, lane: Lane, slots: list[int]) -> list[Held]:
        self.call = "claim"

        def claim(store: Store, which: int) -> list[tuple[int, Verdict, int, int]]:
            hinted = [(self.entry(which, s), self.slots[s].key) for s in slots]
            claimed = store.ledger.claim(worker, lane, hinted, MOST_ATTEMPTS)
            return [
                (self.slot_of(which, c.entry), c.verdict, c.attempt, c.lost_runs) for c in claimed
            ]

        claimed = self.both(claim)
        for _, verdict, attempt, lost in claimed:
            given_up = attempt - lost > MOST_ATTEMPTS or lost >= MAX_LOST_RUNS
            assert (verdict is Verdict.RUN) <= (not given_up)
            assert (verdict is Verdict.EXHAUSTED) <= given_up
        return [Held(worker, lane, slot, attempt, v) for slot, v, attempt, _ in claimed]

    @precondition(lambda self: self.held)
    @rule(
        data=st.data(),
        outcome=st.sampled_from([o for o in Outcome if o not in NEVER_OF_A_RUN]),
        far=st.booleans(),
        again=st.booleans(),
    )
    def finish(self, data: st.DataObject, outcome: Outcome, far: bool, again: bool) -> None:
        """An executor says what became of a delivery, perhaps long after it lost it."""
        n = data.draw(st.integers(0, len(self.held) - 1))
        held = self.held[n] if again else self.held.pop(n)
        if (
            held.verdict in (Verdict.DUPLICATE, Verdict.CONCURRENT)
            and outcome is not Outcome.RELEASED
        ):
            outcome = Outcome.IGNORED
        if held.verdict is Verdict.EXHAUSTED:
            outcome = Outcome.DEAD
        self.say(held, outcome, HOUR_MS // 2 if far else 0)

    def say(self, held: Held, outcome: Outcome, delay_ms: int = 0) -> None:
        self.call = "finish"
        slot = self.slots[held.slot]

        def finish(store: Store, which: int) -> bool:
            entry = self.entry(which, held.slot)
            claimed = Claimed(entry, held.verdict, held.attempt, slot.body())
            one = settled(claimed, outcome, delay_ms=delay_ms)
            return not store.ledger.finish(held.worker, held.lane, [one])

        if self.both(finish) and outcome is Outcome.PROCESSED:
            self.processed[slot.key, held.lane.handler] += 1

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def renew(self, data: st.DataObject) -> None:
        self.call = "renew"
        held = data.draw(st.sampled_from(self.held))
        pair = (held.slot, held.attempt)
        self.both(
            lambda store, which: (
                store.ledger.renew(held.worker, held.lane, [(self.entry(which, pair[0]), pair[1])])
                == []
            )
        )

    @rule(worker=WORKERS, limits=st.booleans())
    def hand_back(self, worker: str, limits: bool) -> None:
        self.call = "hand_back"
        lane = self.lanes[limits]
        self.both(lambda store, _: store.ledger.hand_back(worker, lane))

    @rule()
    def pass_hour(self) -> None:
        self.call = "nothing"
        for store in self.stores:
            store.pass_hour()

    @property
    def letters(self) -> list[tuple[int, str]]:
        """Slot and handler of each dead letter."""
        dead = {key for key, place in self.places.items() if place is Place.DEAD}
        return sorted(dead - self.edited)

    def letter(self, store: Store, which: int, slot: int, handler: str) -> DeadLetter:
        named = self.entry(which, slot), handler
        [letter] = [
            letter
            for letter in store.ledger.dead(DOMAIN)
            if (letter.entry, letter.handler) == named
        ]
        return letter

    @precondition(lambda self: self.letters and len(self.slots) < 2 * MOST_SLOTS)
    @rule(data=st.data(), twice=st.booleans())
    def edit(self, data: st.DataObject, twice: bool) -> None:
        """An edited event stands for a dead letter. The old delivery stays dead."""
        self.call = "append"
        slot, handler = data.draw(st.sampled_from(self.letters))
        old, lane = self.slots[slot], OF_HANDLER[handler]
        new = Slot(f"e{len(self.slots)}", old.source, old.subject, ("", ""), handler, made=True)

        def edit(store: Store, which: int) -> int:
            letter = self.letter(store, which, slot, handler)
            stands = EditedLetter(letter, new.event_id, new.key, "x.y", new.body(only=handler))
            done = store.ledger.edit(lane, [stands], b"note")
            assert not twice or not store.ledger.edit(lane, [stands], b"note")
            fields = letter.event_key, refused_field(letter.entry)
            lines = [one for h in store.ledger.histories(lane, fields) for one in h.restarts]
            assert new.event_id in {line.edited for line in lines}
            return done

        assert 1 == self.both(edit)
        self.edited.add((slot, handler))
        newest = [s.log.read(DOMAIN, count=1, newest_first=True)[0].id for s in self.stores]
        self.slots.append(replace(new, entries=(newest[0], newest[1])))

    @precondition(lambda self: self.letters)
    @rule(data=st.data(), twice=st.booleans())
    def redrive(self, data: st.DataObject, twice: bool) -> None:
        self.call = "redrive"
        slot, handler = data.draw(st.sampled_from(self.letters))
        lane = OF_HANDLER[handler]
        one = self.slots[slot]
        addressed = one.body(only=handler)

        def redrive(store: Store, which: int) -> tuple[bool, int]:
            letter = self.letter(store, which, slot, handler)
            before = store.log.read(DOMAIN, count=1, newest_first=True)
            done = bool(store.ledger.redrive(lane, [(letter, addressed)]))
            assert not twice or not store.ledger.redrive(lane, [(letter, addressed)])
            after = store.log.read(DOMAIN, count=1, newest_first=True)
            return done, before != after

        done, appended = self.both(redrive)
        assert done
        self.allowed[one.key, handler] += 1
        if appended:
            newest = [s.log.read(DOMAIN, count=1, newest_first=True)[0].id for s in self.stores]
            one.superseded.add(handler)
            del self.places[slot, handler]
            self.slots.append(replace(one, entries=(newest[0], newest[1]), only=handler,
                                      superseded=set()))  # fmt: skip

    @precondition(lambda self: not SETTLED.isdisjoint(self.places.values()))
    @rule(data=st.data(), others=st.booleans())
    def replay(self, data: st.DataObject, others: bool) -> None:
        """A settled delivery is replayed, or all of its handler in one call."""
        self.call = "schedule"
        ended = sorted(key for key, place in self.places.items() if place in SETTLED)
        chosen, handler = data.draw(st.sampled_from(ended))
        lane = OF_HANDLER[handler]
        slots = [n for n, slot in enumerate(self.slots) if slot.only in ("", handler)]
        slots = [n for n in slots if others or n == chosen]

        def schedule(store: Store, which: int) -> int:
            pairs = [(self.entry(which, s), self.slots[s].key) for s in slots]
            return store.ledger.schedule(lane, pairs)

        self.both(schedule)
        for slot in set(slots):
            self.allowed[self.slots[slot].key, lane.handler] += 1

    @rule()
    def trim(self) -> None:
        self.call = "trim"
        self.both(lambda store, _: store.log.trim(DOMAIN, exact=True))

    # -- what holds

    def places_in(self, store: Store, which: int, lane: Lane) -> dict[int, Place]:
        """Where each delivery of a handler is."""
        [group] = [g for g in store.log.groups(DOMAIN) if g.handler == lane.handler]
        delivered = entry_key(group.last_delivered)
        rows = store.ledger.rows(lane, [slot.key for slot in self.slots])
        own = [refused_field(slot.entries[which]) for slot in self.slots]
        refused = store.ledger.rows(lane, own)
        places = {}
        open_chunks = store.chunks.open_chunks(lane)
        runs = store.chunks.runs(lane, [slot.entries[which] for slot in self.slots])
        for n, (slot, row) in enumerate(zip(self.slots, rows, strict=True)):
            entry, run = slot.entries[which], runs[n]
            if lane.handler in slot.superseded:
                continue
            chunk = _chunk_of(open_chunks, entry)
            if entry_key(entry) > delivered:
                places[n] = Place.WAITING
            elif chunk is not None:
                assert store.ledger.pending(lane, entry) is None
                places[n] = Place(chunk.owner.partition(":")[0])
            elif pending := store.ledger.pending(lane, entry):
                assert (pending.due_ms is not None) == (pending.owner == Place.DUE)
                places[n] = Place(pending.owner.partition(":")[0])
            elif refused[n] is not None:
                places[n] = Place.DEAD
            elif row is None or row.entry != entry:
                ran = run is not None and run.outcome is RunOutcome.PROCESSED
                places[n] = Place.PROCESSED if ran else Place.IGNORED
            else:
                assert row.state in SETTLED, f"its row says {row.state}, but it is not pending"
                places[n] = row.state
        return places

    def eclipsed(self, was: Place, now: Place) -> bool:
        """The event ran again in another entry, whose row is the event's row from then on."""
        return was in SETTLED and now is Place.IGNORED

    @invariant()
    def observe(self) -> None:
        for lane in self.lanes if self.slots else ():
            there = self.both(lambda store, which: self.places_in(store, which, lane))  # noqa: B023
            for slot, now in there.items():
                was = self.places.get((slot, lane.handler), Place.WAITING)
                if now is not was and not self.eclipsed(was, now):
                    assert now in ALL_MOVES.get((was, self.call), ()), f"{slot}: {was} → {now}"
                self.places[slot, lane.handler] = now
                if now is not Place.DEAD:
                    self.edited.discard((slot, lane.handler))
        self.one_place_each()

    def one_place_each(self) -> None:
        for which, store in enumerate(self.stores):
            letters = Counter(
                (self.slot_of(which, letter.entry), letter.handler)
                for letter in store.ledger.dead(DOMAIN, count=10_000)
            )
            assert dict.fromkeys(self.letters, 1) == letters
            for lane in self.lanes:
                due = [k for k, p in self.places.items() if (k[1], p) == (lane.handler, Place.DUE)]
                assert len(due) == store.ledger.due(lane)
        for lane in self.lanes:
            self.limits_hold(lane)

    def limits_hold(self, lane: Lane) -> None:
        """No key has more deliveries out than its limit."""
        if lane.flow is None or lane.flow.concurrency is None:
            return
        places = {Place.QUEUED, Place.RUNNING} | ({Place.DUE} if lane.flow.ordered else set())
        out = Counter(
            self.slots[slot].subject
            for (slot, handler), place in self.places.items()
            if handler == lane.handler and place in places
        )
        assert all(n <= lane.flow.concurrency for n in out.values()), f"{lane.handler}: {out}"

    # -- in the end

    def teardown(self) -> None:
        while not all(place in SETTLED for place in self.places.values()):
            before = dict(self.places)
            self.reclaim()
            self.observe()
            for lane in self.lanes:
                self.pass_hour()
                for slots in self.take_all("w1", lane, over=True):
                    self.observe()
                    for held in self.arrive("w1", lane, slots):
                        self.observe()
                        self.say(held, VERDICTS[held.verdict])
                self.observe()
            assert before != self.places, f"stuck: {before}"
        handlers = [lane.handler for lane in self.lanes]
        for key, handler in itertools.product({s.key for s in self.slots}, handlers):
            self.settled_as_promised(key, handler)

    def settled_as_promised(self, key: str, handler: str) -> None:
        places = [
            place
            for (slot, of), place in self.places.items()
            if of == handler and self.slots[slot].key == key
        ]
        assert set(places) <= SETTLED, f"{key} of {handler} never came to its end: {places}"
        # An edited event is for one handler alone.
        meant = any(s.key == key and s.only in ("", handler) for s in self.slots)
        assert len([p for p in places if p is not Place.IGNORED]) == meant, f"{key}: {places}"
        assert self.processed[key, handler] <= 1 + self.allowed[key, handler]


def _chunk_of(chunks: list[OpenChunk], entry: str) -> OpenChunk | None:
    key = entry_key(entry)
    found = [chunk for chunk in chunks if entry_key(chunk.after) < key <= entry_key(chunk.upto)]
    assert len(found) <= 1, f"{entry} is in several chunks"
    return found[0] if found else None
