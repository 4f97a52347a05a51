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
    FINISHED,
    MAX_LOST_RUNS,
    MOVES,
    Claimed,
    ClaimResult,
    Completion,
    DeadLetter,
    DeliveryState,
    EditedDeadLetter,
    FlowControl,
    Group,
    Outcome,
    refused_field,
)
from celeriac.delivery.advance import Advance, NewChunk
from celeriac.delivery.chunk_store import ChunkCompletion, ChunkProgress, ChunkRequest
from celeriac.delivery.run_record import RunOutcome, pack_runs, run_code
from celeriac.event import event_key
from celeriac.event_log import entry_key
from celeriac.event_log.open_chunk import OpenChunk
from celeriac.settings import Settings
from tests.contract.store import DOMAIN, HOUR_MS, MemoryStore, RedisStore, Store, body, settled

PLAIN = Group(DOMAIN, "plain")
ORDERED = Group(DOMAIN, "ordered", FlowControl(ordered=True, concurrency=1))
LIMITED = Group(DOMAIN, "limited", FlowControl(concurrency=2, fair=True, weights=(("a", 3.0),)))
# So slow that only `pass_hour` allows another one of a key.
RATED = Group(DOMAIN, "rated", FlowControl(concurrency=1, per_second=1 / 3600))
LIMITS = st.sampled_from([ORDERED, LIMITED, RATED])
OF_HANDLER = {group.handler: group for group in (PLAIN, ORDERED, LIMITED, RATED)}
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
    ClaimResult.RUN: Outcome.PROCESSED,
    ClaimResult.DUPLICATE: Outcome.IGNORED,
    ClaimResult.CONCURRENT: Outcome.REQUEUED,
    ClaimResult.EXHAUSTED: Outcome.DEAD,
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
    group: Group
    slot: int
    attempt: int
    result: ClaimResult


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
        self.tasks: list[tuple[Group, list[int]]] = []
        self.held: list[Held] = []
        self.chunks: list[Chunk] = []
        self._chunk_ids = itertools.count()
        self.places: dict[tuple[int, str], DeliveryState] = {}
        self.processed: Counter[tuple[str, str]] = Counter()
        self.allowed: Counter[tuple[str, str]] = Counter()
        # Dead deliveries whose letter is gone: an edited event stands for them.
        self.edited: set[tuple[int, str]] = set()
        # Dead deliveries that the handler never ran: another entry of the event may run.
        self.refused: set[tuple[int, str]] = set()
        self.call = ""
        self.groups: tuple[Group, ...] = ()

    @initialize(limits=LIMITS)
    def join(self, limits: Group) -> None:
        self.groups = (PLAIN, limits)
        for group in self.groups:
            for store in self.stores:
                store.event_log.join(DOMAIN, group.handler, "0")

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
    def fetch_chunk(self, worker: str, count: int, running: bool) -> None:
        self.call = "fetch_chunk"
        chunk = f"chunk{next(self._chunk_ids)}"

        def fetch_chunk(store: Store, which: int) -> list[int]:
            request = ChunkRequest(PLAIN, chunk, count, running)
            [fetched] = store.chunks.fetch(worker, [request])
            return [self.slot_of(which, entry.id) for entry in fetched.entries]

        if slots := self.both(fetch_chunk):
            self.chunks.append(Chunk(chunk, worker, slots))

    @rule(
        data=st.data(),
        worker=WORKERS,
        stands=st.booleans(),
        wants=st.booleans(),
        sparse=st.booleans(),
    )
    def advance(
        self, data: st.DataObject, worker: str, stands: bool, wants: bool, sparse: bool
    ) -> None:
        """A dispatcher read some entries for all groups, and assumes a position of this one."""
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
                count = len(wanted) if sparse else high - low + 1
                named = tuple(at(slot) for slot in wanted) if sparse else ()
                new = NewChunk(chunk, at(low - 1), at(high), count, named)
            move = Advance(PLAIN, at(first - 1), at(last), last - first + 1, ("order.#",), new)
            [answer] = store.chunks.advance(worker, [move])
            return answer.is_moved

        if self.both(advance) and wanted:
            slots = wanted if sparse else list(range(wanted[0], wanted[-1] + 1))
            self.chunks.append(Chunk(chunk, worker, slots))

    def ahead(self, store: Store, which: int) -> list[int]:
        """What the group was not given yet."""
        [info] = [one for one in store.event_log.groups(DOMAIN) if one.handler == PLAIN.handler]
        last = entry_key(info.last_delivered)
        return [n for n in range(len(self.slots)) if entry_key(self.entry(which, n)) > last]

    @precondition(lambda self: self.chunks)
    @rule(data=st.data(), worker=WORKERS)
    def begin_chunk(self, data: st.DataObject, worker: str) -> None:
        """A delivery task that names a chunk arrives, perhaps again, or at the wrong worker."""
        self.call = "begin_chunk"
        chunk = data.draw(st.sampled_from(self.chunks))

        def begin_chunk(store: Store, which: int) -> list[int] | None:
            entries = store.chunks.begin(worker, PLAIN, chunk.id)
            return None if entries is None else [self.slot_of(which, one.id) for one in entries]

        if self.both(begin_chunk) is not None:
            chunk.worker = worker

    @precondition(lambda self: self.chunks)
    @rule(
        data=st.data(),
        outcome=st.sampled_from([Outcome.PROCESSED, Outcome.RETRY, Outcome.SKIPPED, Outcome.DEAD]),
        again=st.booleans(),
    )
    def complete_chunk(self, data: st.DataObject, outcome: Outcome, again: bool) -> None:
        """A process reports the results of a chunk's first entries, perhaps twice or too late."""
        self.call = "complete_chunk"
        chunk = data.draw(st.sampled_from(self.chunks))
        done = chunk.slots[: data.draw(st.integers(1, len(chunk.slots)))]
        outcomes = {slot: self.outcome_in_chunk(slot, outcome) for slot in done}

        def complete_chunk(store: Store, which: int) -> bool:
            told = self.completion(which, outcomes)
            held = store.chunks.complete(chunk.worker, PLAIN, chunk.id, told)
            if held and again:
                store.chunks.complete(chunk.worker, PLAIN, chunk.id, told)
            return held

        if not self.both(complete_chunk):
            return
        chunk.slots = chunk.slots[len(done) :]
        if not chunk.slots:
            self.chunks.remove(chunk)
        for slot, what in outcomes.items():
            self.processed[self.slots[slot].key, PLAIN.handler] += what is Outcome.PROCESSED

    @precondition(lambda self: any(len(one.slots) > 1 for one in self.chunks))
    @rule(data=st.data(), again=st.booleans())
    def progress_chunk(self, data: st.DataObject, again: bool) -> None:
        """A process reports what ran of a chunk that it continues, perhaps twice or too late."""
        self.call = "progress_chunk"
        chunk = data.draw(st.sampled_from([one for one in self.chunks if len(one.slots) > 1]))
        done = chunk.slots[: data.draw(st.integers(1, len(chunk.slots) - 1))]
        # Others are exceptions of a completion.
        done = list(itertools.takewhile(lambda slot: self.slots[slot].made, done))
        if not done:
            return
        outcomes = {slot: self.outcome_in_chunk(slot, Outcome.PROCESSED) for slot in done}

        def progress_chunk(store: Store, which: int) -> bool:
            told = self.completion(which, outcomes)
            progress = ChunkProgress(told.until, told.done, told.record)
            held = store.chunks.begin_progress(chunk.worker, PLAIN, chunk.id, progress).result()
            if held and again:
                store.chunks.begin_progress(chunk.worker, PLAIN, chunk.id, progress).result()
            return held

        if not self.both(progress_chunk):
            return
        chunk.slots = chunk.slots[len(done) :]
        for slot, what in outcomes.items():
            self.processed[self.slots[slot].key, PLAIN.handler] += what is Outcome.PROCESSED

    def outcome_in_chunk(self, slot: int, outcome: Outcome) -> Outcome:
        if self.slots[slot].only not in ("", PLAIN.handler):
            return Outcome.IGNORED
        return outcome if self.slots[slot].made else Outcome.REQUEUED

    def completion(self, which: int, outcomes: dict[int, Outcome]) -> ChunkCompletion:
        exceptions, codes = [], []
        for slot, outcome in outcomes.items():
            entry, code = self.entry(which, slot), _RUN_OUTCOMES.get(outcome)
            codes.append(run_code(RunOutcome.EXCEPTION if code is None else code, 10))
            if code is None:
                claimed = Claimed(entry, ClaimResult.RUN, 1, self.slots[slot].body())
                exceptions.append(settled(claimed, outcome))
        entries = [self.entry(which, slot) for slot in outcomes]
        record = pack_runs("w", 0, entries, codes)
        return ChunkCompletion(entries[-1], len(entries), record, exceptions)

    @precondition(lambda self: self.chunks)
    @rule(data=st.data(), worker=WORKERS)
    def requeue_chunk(self, data: st.DataObject, worker: str) -> None:
        self.call = "requeue_chunk"
        chunk = data.draw(st.sampled_from(self.chunks))
        if self.both(lambda store, _: store.chunks.requeue(worker, PLAIN, chunk.id)):
            self.chunks.remove(chunk)

    @precondition(lambda self: self.chunks)
    @rule(data=st.data(), worker=WORKERS, is_known=st.booleans())
    def requeue_end(self, data: st.DataObject, worker: str, is_known: bool) -> None:
        """An entry of a chunk runs long; its process may be unaware of what is requeued."""
        self.call = "requeue_chunk"
        chunk = data.draw(st.sampled_from(self.chunks))
        kept = data.draw(st.integers(1, len(chunk.slots)))

        def requeue_end(store: Store, which: int) -> int:
            after = self.entry(which, chunk.slots[kept - 1])
            return store.chunks.requeue(worker, PLAIN, chunk.id, after=after)

        if self.both(requeue_end) and is_known:
            chunk.slots = chunk.slots[:kept]

    @rule()
    def reclaim(self) -> None:
        """The leases of all chunks expire. Their owners continue, and may report too late."""
        self.call = "requeue_chunk"

        def reclaim(store: Store, _: int) -> int:
            with store.leases_over():
                return store.chunks.reclaim([PLAIN])

        self.both(reclaim)

    @rule(worker=WORKERS, limits=st.booleans(), over=st.booleans())
    def work(self, worker: str, limits: bool, over: bool) -> None:
        """A worker takes and claims; if leases had expired, a worker has crashed."""
        group = self.groups[limits]
        for slots in self.take_all(worker, group, over):
            self.observe()
            self.held += self.arrive(worker, group, slots)

    @rule(worker=WORKERS, limits=st.booleans(), over=st.booleans())
    def fetch(self, worker: str, limits: bool, over: bool) -> None:
        group = self.groups[limits]
        self.tasks += [(group, slots) for slots in self.take_all(worker, group, over)]

    def take_all(self, worker: str, group: Group, over: bool) -> list[list[int]]:
        """The delivery tasks that a dispatcher would send; it completes what no handler wants."""
        self.call = "fetch"

        def fetch(store: Store, which: int) -> set[tuple[int, int, int]]:
            if over:
                taken = store.reclaim(group, worker)
                more = store.fetch(group, worker)
                deliveries = taken.deliveries + more.deliveries
            else:
                deliveries = store.fetch(group, worker).deliveries
            return {(self.slot_of(which, d.entry), d.attempts, d.lost_runs) for d in deliveries}

        attempts = {slot: begun for slot, begun, _ in sorted(self.both(fetch))}
        taken = list(attempts)
        meant = [slot for slot in taken if self.slots[slot].only in ("", group.handler)]
        if strangers := [slot for slot in taken if slot not in meant]:
            self.observe()
            self.skip(worker, group, strangers, Outcome.IGNORED)
        # What was begun before goes alone, as in dispatcher/chunk.py.
        fresh = [slot for slot in meant if attempts[slot] == 0]
        return [[slot] for slot in meant if attempts[slot]] + ([fresh] if fresh else [])

    def skip(self, worker: str, group: Group, slots: list[int], outcome: Outcome) -> None:
        self.call = "complete"

        def skip(store: Store, which: int) -> list[int]:
            said = []
            for slot in slots:
                entry = self.entry(which, slot)
                pending = store.deliveries.pending(group, entry)
                attempts = pending.attempts if pending else 0
                said.append(Completion(entry, self.slots[slot].key, attempts, outcome))
            return [self.slot_of(which, e) for e in store.deliveries.skip(worker, group, said)]

        self.both(skip)

    @precondition(lambda self: self.tasks)
    @rule(
        data=st.data(),
        worker=WORKERS,
        outcome=st.sampled_from(
            [Outcome.SKIPPED, Outcome.REQUEUED, Outcome.DEAD, Outcome.COALESCED]
        ),
    )
    def skip_one(self, data: st.DataObject, worker: str, outcome: Outcome) -> None:
        group, slots = data.draw(st.sampled_from(self.tasks))
        self.skip(worker, group, slots[:1], outcome)

    @precondition(lambda self: self.tasks)
    @rule(data=st.data(), worker=WORKERS, doubled=st.booleans())
    def claim(self, data: st.DataObject, worker: str, doubled: bool) -> None:
        """A delivery task arrives at any worker; it may arrive again. One never drawn is lost."""
        n = data.draw(st.integers(0, len(self.tasks) - 1))
        group, slots = self.tasks[n] if doubled else self.tasks.pop(n)
        self.held += self.arrive(worker, group, slots + slots[:1] if len(slots) > 1 else slots)

    def arrive(self, worker: str, group: Group, slots: list[int]) -> list[Held]:
        self.call = "claim"

        def claim(store: Store, which: int) -> list[tuple[int, ClaimResult, int, int]]:
            pairs = [(self.entry(which, s), self.slots[s].key) for s in slots]
            claimed = store.deliveries.claim(worker, group, pairs, MOST_ATTEMPTS)
            return [
                (self.slot_of(which, c.entry), c.result, c.attempt, c.lost_runs) for c in claimed
            ]

        claimed = self.both(claim)
        for _, result, attempt, lost in claimed:
            given_up = attempt - lost > MOST_ATTEMPTS or lost >= MAX_LOST_RUNS
            assert (result is ClaimResult.RUN) <= (not given_up)
            assert (result is ClaimResult.EXHAUSTED) <= given_up
        return [Held(worker, group, slot, attempt, v) for slot, v, attempt, _ in claimed]

    @precondition(lambda self: self.held)
    @rule(
        data=st.data(),
        outcome=st.sampled_from([o for o in Outcome if o not in NEVER_OF_A_RUN]),
        far=st.booleans(),
        again=st.booleans(),
    )
    def complete(self, data: st.DataObject, outcome: Outcome, far: bool, again: bool) -> None:
        """An executor reports the outcome of a delivery, perhaps long after it lost it."""
        n = data.draw(st.integers(0, len(self.held) - 1))
        held = self.held[n] if again else self.held.pop(n)
        if (
            held.result in (ClaimResult.DUPLICATE, ClaimResult.CONCURRENT)
            and outcome is not Outcome.REQUEUED
        ):
            outcome = Outcome.IGNORED
        if held.result is ClaimResult.EXHAUSTED:
            outcome = Outcome.DEAD
        self.say(held, outcome, HOUR_MS // 2 if far else 0)

    def say(self, held: Held, outcome: Outcome, delay_ms: int = 0) -> None:
        self.call = "complete"
        slot = self.slots[held.slot]

        def complete(store: Store, which: int) -> bool:
            entry = self.entry(which, held.slot)
            claimed = Claimed(entry, held.result, held.attempt, slot.body())
            one = settled(claimed, outcome, delay_ms=delay_ms)
            return not store.deliveries.complete(held.worker, held.group, [one])

        if self.both(complete) and outcome is Outcome.PROCESSED:
            self.processed[slot.key, held.group.handler] += 1

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def renew(self, data: st.DataObject) -> None:
        self.call = "renew"
        held = data.draw(st.sampled_from(self.held))
        pair = (held.slot, held.attempt)
        self.both(
            lambda store, which: (
                store.deliveries.renew(
                    held.worker, held.group, [(self.entry(which, pair[0]), pair[1])]
                )
                == []
            )
        )

    @rule(worker=WORKERS, limits=st.booleans())
    def requeue(self, worker: str, limits: bool) -> None:
        self.call = "requeue"
        group = self.groups[limits]
        self.both(lambda store, _: store.deliveries.requeue(worker, group))

    @rule()
    def pass_hour(self) -> None:
        self.call = "nothing"
        for store in self.stores:
            store.pass_hour()

    @property
    def letters(self) -> list[tuple[int, str]]:
        """Slot and handler of each dead letter."""
        dead = {key for key, place in self.places.items() if place is DeliveryState.DEAD}
        return sorted(dead - self.edited)

    def letter(self, store: Store, which: int, slot: int, handler: str) -> DeadLetter:
        named = self.entry(which, slot), handler
        [letter] = [
            letter
            for letter in store.deliveries.dead(DOMAIN)
            if (letter.entry, letter.handler) == named
        ]
        return letter

    @precondition(lambda self: self.letters and len(self.slots) < 2 * MOST_SLOTS)
    @rule(data=st.data(), twice=st.booleans())
    def edit(self, data: st.DataObject, twice: bool) -> None:
        """An edited event replaces a dead letter. The old delivery stays dead."""
        self.call = "append"
        slot, handler = data.draw(st.sampled_from(self.letters))
        old, group = self.slots[slot], OF_HANDLER[handler]
        new = Slot(f"e{len(self.slots)}", old.source, old.subject, ("", ""), handler, made=True)

        def edit(store: Store, which: int) -> int:
            letter = self.letter(store, which, slot, handler)
            stands = EditedDeadLetter(letter, new.event_id, new.key, "x.y", new.body(only=handler))
            done = store.deliveries.edit(group, [stands], b"note")
            assert not twice or not store.deliveries.edit(group, [stands], b"note")
            fields = letter.event_key, refused_field(letter.entry)
            lines = [one for h in store.deliveries.histories(group, fields) for one in h.restarts]
            assert new.event_id in {line.edited for line in lines}
            return done

        assert 1 == self.both(edit)
        self.edited.add((slot, handler))
        newest = [s.event_log.read(DOMAIN, count=1, newest_first=True)[0].id for s in self.stores]
        self.slots.append(replace(new, entries=(newest[0], newest[1])))

    @precondition(lambda self: self.letters)
    @rule(data=st.data(), twice=st.booleans())
    def redrive(self, data: st.DataObject, twice: bool) -> None:
        self.call = "redrive"
        slot, handler = data.draw(st.sampled_from(self.letters))
        group = OF_HANDLER[handler]
        one = self.slots[slot]
        addressed = one.body(only=handler)

        def redrive(store: Store, which: int) -> tuple[bool, int]:
            letter = self.letter(store, which, slot, handler)
            before = store.event_log.read(DOMAIN, count=1, newest_first=True)
            done = bool(store.deliveries.redrive(group, [(letter, addressed)]))
            assert not twice or not store.deliveries.redrive(group, [(letter, addressed)])
            after = store.event_log.read(DOMAIN, count=1, newest_first=True)
            return done, before != after

        done, appended = self.both(redrive)
        assert done
        self.allowed[one.key, handler] += 1
        if appended:
            newest = [
                s.event_log.read(DOMAIN, count=1, newest_first=True)[0].id for s in self.stores
            ]
            one.superseded.add(handler)
            del self.places[slot, handler]
            self.slots.append(replace(one, entries=(newest[0], newest[1]), only=handler,
                                      superseded=set()))  # fmt: skip

    @precondition(lambda self: not FINISHED.isdisjoint(self.places.values()))
    @rule(data=st.data(), others=st.booleans())
    def replay(self, data: st.DataObject, others: bool) -> None:
        """A completed delivery is replayed, or all of its handler in one call."""
        self.call = "replay"
        ended = sorted(key for key, place in self.places.items() if place in FINISHED)
        chosen, handler = data.draw(st.sampled_from(ended))
        group = OF_HANDLER[handler]
        slots = [n for n, slot in enumerate(self.slots) if slot.only in ("", handler)]
        slots = [n for n in slots if others or n == chosen]

        def replay(store: Store, which: int) -> int:
            pairs = [(self.entry(which, s), self.slots[s].key) for s in slots]
            return store.deliveries.replay(group, pairs)

        self.both(replay)
        for slot in set(slots):
            self.allowed[self.slots[slot].key, group.handler] += 1

    @rule()
    def trim(self) -> None:
        self.call = "trim"
        self.both(lambda store, _: store.event_log.trim(DOMAIN, exact=True))

    # -- what holds

    def places_in(self, store: Store, which: int, group: Group) -> dict[int, DeliveryState]:
        """Where each delivery of a handler is."""
        [info] = [g for g in store.event_log.groups(DOMAIN) if g.handler == group.handler]
        delivered = entry_key(info.last_delivered)
        keys = [slot.key for slot in self.slots]
        own = [refused_field(slot.entries[which]) for slot in self.slots]
        found = store.deliveries.rows(group, [*keys, *own])
        rows, refused = found[: len(keys)], found[len(keys) :]
        held = {p.entry: p for p in store.deliveries.pending_between(group, "-", "+")}
        places = {}
        open_chunks = store.chunks.open_chunks(group)
        runs = store.chunks.runs(group, [slot.entries[which] for slot in self.slots])
        for n, (slot, row) in enumerate(zip(self.slots, rows, strict=True)):
            entry, run = slot.entries[which], runs[n]
            if group.handler in slot.superseded:
                continue
            chunk = _chunk_of(open_chunks, entry)
            if entry_key(entry) > delivered:
                places[n] = DeliveryState.WAITING
            elif chunk is not None:
                assert entry not in held
                places[n] = DeliveryState(chunk.owner.partition(":")[0])
            elif pending := held.get(entry):
                assert (pending.due_ms is not None) == (pending.owner == DeliveryState.SCHEDULED)
                places[n] = DeliveryState(pending.owner.partition(":")[0])
            elif refused[n] is not None:
                places[n] = DeliveryState.DEAD
                self.refused.add((n, group.handler))
            elif row is None or row.entry != entry:
                ran = run is not None and run.outcome is RunOutcome.PROCESSED
                places[n] = DeliveryState.PROCESSED if ran else DeliveryState.IGNORED
            else:
                assert row.state in FINISHED, f"its row says {row.state}, but it is not pending"
                places[n] = row.state
        return places

    def eclipsed(self, was: DeliveryState, now: DeliveryState) -> bool:
        """The event ran again in another entry, whose row is the event's row from then on."""
        return was in FINISHED and now is DeliveryState.IGNORED

    @invariant()
    def observe(self) -> None:
        for group in self.groups if self.slots else ():
            there = self.both(lambda store, which: self.places_in(store, which, group))  # noqa: B023
            for slot, now in there.items():
                was = self.places.get((slot, group.handler), DeliveryState.WAITING)
                if now is not was and not self.eclipsed(was, now):
                    assert now in ALL_MOVES.get((was, self.call), ()), f"{slot}: {was} → {now}"
                self.places[slot, group.handler] = now
                if now is not DeliveryState.DEAD:
                    self.edited.discard((slot, group.handler))
        self.one_place_each()

    def one_place_each(self) -> None:
        for which, store in enumerate(self.stores):
            letters = Counter(
                (self.slot_of(which, letter.entry), letter.handler)
                for letter in store.deliveries.dead(DOMAIN, count=10_000)
            )
            assert dict.fromkeys(self.letters, 1) == letters
            for group in self.groups:
                due = [
                    k
                    for k, p in self.places.items()
                    if (k[1], p) == (group.handler, DeliveryState.SCHEDULED)
                ]
                assert len(due) == store.deliveries.due(group)
        for group in self.groups:
            self.limits_hold(group)

    def limits_hold(self, group: Group) -> None:
        """No key has more deliveries out than its limit."""
        if group.flow_control is None or group.flow_control.concurrency is None:
            return
        places = {DeliveryState.QUEUED, DeliveryState.RUNNING} | (
            {DeliveryState.SCHEDULED} if group.flow_control.ordered else set()
        )
        out = Counter(
            self.slots[slot].subject
            for (slot, handler), place in self.places.items()
            if handler == group.handler and place in places
        )
        assert all(n <= group.flow_control.concurrency for n in out.values()), (
            f"{group.handler}: {out}"
        )

    # -- in the end

    def teardown(self) -> None:
        while not all(place in FINISHED for place in self.places.values()):
            before = dict(self.places)
            self.reclaim()
            self.observe()
            for group in self.groups:
                self.pass_hour()
                for slots in self.take_all("w1", group, over=True):
                    self.observe()
                    for held in self.arrive("w1", group, slots):
                        self.observe()
                        self.say(held, VERDICTS[held.result])
                self.observe()
            assert before != self.places, f"stuck: {before}"
        handlers = [group.handler for group in self.groups]
        for key, handler in itertools.product({s.key for s in self.slots}, handlers):
            self.settled_as_promised(key, handler)

    def settled_as_promised(self, key: str, handler: str) -> None:
        places = {
            slot: place
            for (slot, of), place in self.places.items()
            if of == handler and self.slots[slot].key == key
        }
        states = set(places.values())
        assert states <= FINISHED, f"{key} of {handler} never came to its end: {places}"
        # An edited event is for one handler alone.
        meant = any(s.key == key and s.only in ("", handler) for s in self.slots)
        refused = [slot for slot in places if (slot, handler) in self.refused]
        settled = [
            place
            for slot, place in places.items()
            if place is not DeliveryState.IGNORED and slot not in refused
        ]
        assert len(settled) == meant or (refused and not settled), f"{key}: {places}"
        assert self.processed[key, handler] <= 1 + self.allowed[key, handler]


def _chunk_of(chunks: list[OpenChunk], entry: str) -> OpenChunk | None:
    found = [chunk for chunk in chunks if chunk.has(entry)]
    assert len(found) <= 1, f"{entry} is in several chunks"
    return found[0] if found else None
