"""Entries that repeat an event: which one counts, whatever arrives when."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from celeriac.delivery import (
    Claimed,
    ClaimResult,
    Completion,
    Failure,
    FetchRequest,
    Group,
    Outcome,
)
from celeriac.delivery.chunk_store import ChunkCompletion, ChunkRequest, Fetched
from celeriac.delivery.repetition import Repetitions
from celeriac.delivery.run_record import RunOutcome, pack_runs, run_code
from celeriac.event import made_ms, new_event_id, read_header
from celeriac.event_log import Entry, EntryKind, Item, time_ms
from tests.contract.store import DOMAIN, MemoryStore, Store
from tests.contract.test_chunks import completion, fetch
from tests.contract.test_registered import MakeStore, event

MADE, GIVEN, FOREIGN = EntryKind.MADE, EntryKind.GIVEN, EntryKind.FOREIGN
HOUR_MS = 3_600_000


def with_keys(entries: Sequence[Entry]) -> list[tuple[Entry, str]]:
    return [(entry, read_header(entry.body or b"").key) for entry in entries]


def claim_all(store: Store, group: Group) -> list[Claimed]:
    [taken] = store.deliveries.fetch("w1", [FetchRequest(group, 100)])
    pairs = [(d.entry, read_header(d.body or b"").key) for d in taken.deliveries]
    return store.deliveries.claim("w1", group, pairs, 10)


def certain(store: Store, entries: Sequence[Entry]) -> set[str]:
    return set(store.chunks.repetitions(DOMAIN, with_keys(entries)).certain)


def repetitions(store: Store) -> set[str]:
    return certain(store, store.event_log.read(DOMAIN))


def test_what_was_neither_given_nor_tried_again_repeats_nothing(store: Store, group: Group) -> None:
    for kind in (MADE, FOREIGN, GIVEN, MADE):
        store.event_log.append(DOMAIN, event(new_event_id()), kind)
    store.event_log.append(DOMAIN, event("a"), GIVEN)
    _, fetched = fetch(store, group)
    assert not fetched.is_ambiguous
    assert set() == repetitions(store)
    assert set() == certain(store, [])


def test_of_a_first_try_that_arrived_the_second_is_the_repetition(
    store: Store, group: Group
) -> None:
    body, began = event(new_event_id()), time_ms()
    store.event_log.append(DOMAIN, body, MADE)
    _, before = fetch(store, group)
    again = store.event_log.append(DOMAIN, body, MADE, began)
    other = store.event_log.append(DOMAIN, event("b"), GIVEN)
    _, fetched = fetch(store, group)
    assert (False, True) == (before.is_ambiguous, fetched.is_ambiguous)
    assert [again, other] == [entry.id for entry in fetched.entries]
    assert {again} == certain(store, fetched.entries)
    # Known from now on, also when the log does not have the first one any more.
    assert {again} == repetitions(store)


def test_of_a_first_try_that_arrives_late_the_first_is_the_repetition(
    store: Store, group: Group
) -> None:
    body = event(new_event_id())
    again = store.event_log.append(DOMAIN, body, MADE, time_ms())
    late = store.event_log.append(DOMAIN, body, MADE)
    _, fetched = fetch(store, group, 1)
    _, other = fetch(store, group, 1)
    assert fetched.is_ambiguous and other.is_ambiguous
    assert [again, late] == [fetched.entries[0].id, other.entries[0].id]
    assert {late} == certain(store, other.entries)
    assert set() == certain(store, fetched.entries)


def test_only_entries_of_the_time_are_ambiguous(make_store: MakeStore) -> None:
    store = make_store()
    if not isinstance(store, MemoryStore):
        pytest.skip("its clock cannot be set")
    group = Group(DOMAIN, "billing.charge")
    store.event_log.join(DOMAIN, group.handler, "0")
    body = event(new_event_id())
    store.event_log.append(DOMAIN, event("a"), GIVEN)
    store.clock.advance(5000)
    store.event_log.append(DOMAIN, body, MADE, store.clock.now_ms() - 100)
    store.clock.advance(HOUR_MS - 1)
    late = store.event_log.append(DOMAIN, body, MADE)
    store.clock.advance(1000)
    for name in "cd":
        store.event_log.append(DOMAIN, event(name), MADE)
    fetched = [fetch(store, group, 1)[1] for _ in range(5)]
    # The one behind the last counts too: a fetch knows where it began, and not its first entry.
    assert [False, True, True, True, False] == [one.is_ambiguous for one in fetched]
    assert {late} == certain(store, fetched[2].entries)


def test_an_event_of_emit_that_is_given_again_is_a_repetition(store: Store, group: Group) -> None:
    id = new_event_id()
    store.event_log.append(DOMAIN, event(id), MADE)
    again = store.event_log.append(DOMAIN, event(id, data="other"), GIVEN, made_ms(id))
    source = store.event_log.append(DOMAIN, event(id, "till"), GIVEN, made_ms(id))
    _, fetched = fetch(store, group)
    assert fetched.is_ambiguous
    assert {again} == repetitions(store)
    assert source in {entry.id for entry in fetched.entries}


def test_a_foreign_copy_of_what_celeriac_appended_is_a_duplicate(
    store: Store, group: Group
) -> None:
    id = new_event_id()
    store.event_log.append(DOMAIN, event(id), MADE)
    store.event_log.append(DOMAIN, event("a"), GIVEN)
    chunk, fetched = fetch(store, group, 2, running=True)
    assert store.chunks.complete("w1", group, chunk, completion(fetched.entries))
    for one in (id, "a", "b"):
        store.event_log.append(DOMAIN, event(one))
    claimed = claim_all(store, group)
    assert [ClaimResult.DUPLICATE, ClaimResult.DUPLICATE, ClaimResult.RUN] == [
        one.result for one in claimed
    ]
    other = Group(DOMAIN, "mail.send")
    store.event_log.join(DOMAIN, other.handler, claimed[0].entry)
    assert [ClaimResult.DUPLICATE, ClaimResult.RUN] == [
        one.result for one in claim_all(store, other)
    ]


def test_a_given_id_that_a_foreign_producer_used_is_for_claim_to_decide(
    store: Store, group: Group
) -> None:
    """A handler may have refused the foreign event: it does not keep the given one from it."""
    store.event_log.append(DOMAIN, event("a"))
    [foreign] = claim_all(store, group)
    given = store.event_log.append(DOMAIN, event("a"), GIVEN)
    assert given == store.event_log.append(DOMAIN, event("a"), GIVEN) != foreign.entry
    chunk, fetched = fetch(store, group, running=True)
    assert fetched.is_ambiguous
    found = store.chunks.repetitions(DOMAIN, with_keys(fetched.entries))
    assert not found.certain
    assert {given: foreign.entry} == found.possible
    key = with_keys(fetched.entries)[0][1]
    refused = Completion(
        foreign.entry, key, 1, Outcome.REFUSED, failure=Failure(attempt=1, at=1, error="x")
    )
    assert not store.deliveries.complete("w1", group, [refused])
    released = Completion(given, key, 1, Outcome.REQUEUED)
    only = completion(fetched.entries, exceptions=[released])
    assert store.chunks.complete("w1", group, chunk, only)
    assert [ClaimResult.RUN] == [one.result for one in claim_all(store, group)]


@pytest.mark.parametrize("again", [GIVEN, FOREIGN], ids=["given", "foreign"])
def test_a_refused_event_keeps_a_later_one_from_those_alone_that_processed_it(
    store: Store, group: Group, again: EntryKind
) -> None:
    other = Group(DOMAIN, "mail.send")
    store.event_log.join(DOMAIN, other.handler, "0")
    first = store.event_log.append(DOMAIN, event("a"), GIVEN)
    chunk, fetched = fetch(store, group, running=True)
    key = with_keys(fetched.entries)[0][1]
    refused = Completion(
        first, key, 1, Outcome.REFUSED, failure=Failure(attempt=1, at=1, error="x")
    )
    record = pack_runs("w1", 1234, [first], [run_code(RunOutcome.EXCEPTION, 1)])
    only = ChunkCompletion(first, 1, record, exceptions=[refused])
    assert store.chunks.complete("w1", group, chunk, only)
    running, _ = fetch(store, other, running=True)

    later = store.event_log.append(DOMAIN, event("a", data="true"), again)
    assert later != first
    if again is GIVEN:
        assert later == store.event_log.append(DOMAIN, event("a"), GIVEN)

    def verdicts(group: Group) -> list[ClaimResult]:
        chunk, fetched = fetch(store, group, 1, running=True)
        assert [later] == [entry.id for entry in fetched.entries]
        if again is GIVEN:
            assert fetched.is_ambiguous
            found = store.chunks.repetitions(DOMAIN, with_keys(fetched.entries))
            assert {later: first} == found.possible
        assert 1 == store.chunks.requeue("w1", group, chunk)
        return [one.result for one in claim_all(store, group)]

    assert [ClaimResult.RUN] == verdicts(group)
    assert [ClaimResult.CONCURRENT] == verdicts(other)
    assert store.chunks.complete("w1", other, running, completion(fetched.entries))
    with store.leases_over():
        [taken] = store.deliveries.fetch("w2", [FetchRequest(other, 10, reclaim=True, max_new=0)])
    pairs = [(d.entry, key) for d in taken.deliveries]
    claimed = store.deliveries.claim("w2", other, pairs, 10)
    assert [ClaimResult.DUPLICATE] == [one.result for one in claimed]


def test_a_delayed_id_that_a_foreign_producer_used_is_for_claim_to_decide(
    store: Store, group: Group
) -> None:
    store.event_log.append(DOMAIN, event("a"))
    claim_all(store, group)
    store.event_log.append_delayed(DOMAIN, event("a"), delay_ms=0, at_ms=None, kind=GIVEN)
    store.event_log.enqueue_due(DOMAIN)
    _, fetched = fetch(store, group)
    assert fetched.is_ambiguous
    found = store.chunks.repetitions(DOMAIN, with_keys(fetched.entries))
    assert {fetched.entries[0].id} == found.possible.keys()


def test_a_late_first_try_that_is_pending_is_a_duplicate(store: Store, group: Group) -> None:
    body = event(new_event_id())
    again = store.event_log.append(DOMAIN, body, MADE, time_ms())
    late = store.event_log.append(DOMAIN, body, MADE)
    _, fetched = fetch(store, group, 1)
    chunk, _ = fetch(store, group, 1)
    assert again == fetched.entries[0].id
    assert 1 == store.chunks.requeue("w1", group, chunk)
    [claimed] = claim_all(store, group)
    assert (late, ClaimResult.DUPLICATE) == (claimed.entry, claimed.result)
    assert store.complete(group, claimed, Outcome.IGNORED)


def test_a_redriven_event_is_no_repetition(store: Store) -> None:
    store.event_log.append(DOMAIN, event("a"), GIVEN)
    store.event_log.append(DOMAIN, event("a"), EntryKind.REDRIVEN)
    assert set() == repetitions(store)


def test_the_first_entry_is_found_among_many(store: Store) -> None:
    bodies, began = [event(new_event_id()) for _ in range(3)], time_ms()
    for n in range(1200):
        store.event_log.append(DOMAIN, b'{"n": %d}' % n, MADE)
        if n % 400 == 300:
            store.event_log.append(DOMAIN, bodies[n // 400], MADE)
    again = [store.event_log.append(DOMAIN, body, MADE, began) for body in bodies]
    entries = [entry for entry in store.event_log.read(DOMAIN, count=2000) if entry.id in again]
    assert set(again) == certain(store, entries)


# -- whatever arrives when

NAMES = ("a", "b")
GROUPS = ("billing.charge", "mail.send")
_domains = itertools.count()


class Walk:
    """Emits as it may happen, and two groups that have up to three chunks open at once."""

    def __init__(self, store: Store) -> None:
        self.store, self.domain = store, f"d{next(_domains)}"
        self.accepted: set[str] = set()
        self.under_way: list[bytes] = []
        self.lost: list[tuple[bytes, int]] = []  # with the time of the first try
        self.runs: dict[str, Counter[str]] = {name: Counter() for name in GROUPS}
        self.open: list[tuple[Group, str, Fetched]] = []
        for name in GROUPS:
            store.event_log.join(self.domain, name, "0")

    def body(self, id: str) -> bytes:
        return event(id, domain=self.domain)

    def accept(self, *bodies: bytes) -> None:
        self.accepted |= {read_header(body).key for body in bodies}

    # -- what may happen; `n` chooses

    def emit(self, n: int) -> None:
        body = self.body(new_event_id())
        self.store.event_log.append(self.domain, body, MADE)
        self.accept(body)

    def lose_the_answer(self, n: int) -> None:
        body, began = self.body(new_event_id()), time_ms()
        self.store.event_log.append(self.domain, body, MADE)
        self.lost.append((body, began))

    def lose_the_command(self, n: int) -> None:
        body = self.body(new_event_id())
        self.lost.append((body, time_ms()))
        self.under_way.append(body)

    def try_again(self, n: int) -> None:
        if self.lost:
            items: list[Item] = [
                (self.domain, body, MADE, began) for body, began in self.lost[: 1 + n % 3]
            ]
            self.store.event_log.append_many(items)
            self.accept(*(body for _, body, _, _ in items))
            if n % 2:  # else this answer is lost too
                del self.lost[: len(items)]

    def arrive(self, n: int) -> None:
        if self.under_way:
            self.store.event_log.append(
                self.domain, self.under_way.pop(n % len(self.under_way)), MADE
            )

    def give(self, n: int) -> None:
        items: list[Item] = [
            (self.domain, self.body(NAMES[m % 2]), GIVEN, 0) for m in range(n, n + 1 + n % 3)
        ]
        self.store.event_log.append_many(items)
        self.accept(*(body for _, body, _, _ in items))

    def give_again(self, n: int) -> None:
        accepted = sorted(self.accepted)
        if accepted:
            id = accepted[n % len(accepted)][:-8]
            self.store.event_log.append(self.domain, self.body(id), GIVEN, made_ms(id))

    def copy(self, n: int) -> None:
        accepted = sorted(self.accepted)
        if accepted:
            self.store.event_log.append(self.domain, self.body(accepted[n % len(accepted)][:-8]))

    def append_foreign(self, n: int) -> None:
        body = self.body(NAMES[n % 2])
        self.store.event_log.append(self.domain, body)
        self.accept(body)

    def fetch(self, n: int) -> None:
        if len(self.open) < 3:
            group, chunk = Group(self.domain, GROUPS[n % 2]), f"{self.domain}-{next(_domains)}"
            [fetched] = self.store.chunks.fetch("w", [ChunkRequest(group, chunk, 1 + n % 4, True)])
            if fetched.entries:
                self.open.append((group, chunk, fetched))

    def run(self, n: int) -> None:
        if self.open:
            group, chunk, fetched = self.open.pop(n % len(self.open))
            entries, found = with_keys(fetched.entries), Repetitions()
            if fetched.is_ambiguous:
                found = self.store.chunks.repetitions(self.domain, entries)
            apart = {
                entry.id for entry, _ in entries if entry.kind is FOREIGN
            } | found.possible.keys()
            self.runs[group.handler].update(
                key for entry, key in entries if entry.id not in apart | found.certain
            )
            released = [
                Completion(entry.id, key, 1, Outcome.REQUEUED)
                for entry, key in entries
                if entry.id in apart - found.certain
            ]
            only = completion(fetched.entries, exceptions=released)
            assert self.store.chunks.complete("w", group, chunk, only)

    def claim(self, n: int) -> None:
        group = Group(self.domain, GROUPS[n % 2])
        [taken] = self.store.deliveries.fetch("w", [FetchRequest(group, 5, max_new=0)])
        pairs = [(d.entry, read_header(d.body or b"").key) for d in taken.deliveries]
        for claimed in self.store.deliveries.claim("w", group, pairs, 10):
            key, run = read_header(claimed.body or b"").key, claimed.result is ClaimResult.RUN
            self.runs[group.handler].update([key] * run)
            outcome = Outcome.PROCESSED if run else Outcome.IGNORED
            if claimed.result is ClaimResult.CONCURRENT:
                outcome = Outcome.REQUEUED
            settled = Completion(claimed.entry, key, claimed.attempt, outcome)
            assert not self.store.deliveries.complete("w", group, [settled])

    def drain(self) -> None:
        for n in range(3 * len(self.open)):
            self.run(n)
        for n in itertools.count():
            before = len(self.open)
            self.fetch(n)
            if len(self.open) == before and n > 2 * self.store.event_log.length(self.domain) + 2:
                break
            self.run(0)
        for n in range(2 * self.store.event_log.length(self.domain)):
            self.claim(n)


OPS = (
    Walk.emit, Walk.lose_the_answer, Walk.lose_the_command, Walk.try_again, Walk.arrive, Walk.give,
    Walk.give_again, Walk.copy, Walk.append_foreign, Walk.fetch, Walk.run, Walk.claim,
)  # fmt: skip
STEPS = st.lists(st.tuples(st.sampled_from(OPS), st.integers(0, 11)), max_size=50)


def check(store: Store, steps: Sequence[tuple[object, int]]) -> None:
    walk = Walk(store)
    for step, n in steps:
        step(walk, n)  # type: ignore[operator]
    walk.drain()
    for runs in walk.runs.values():
        assert walk.accepted <= runs.keys()
        assert {1} >= set(runs.values()), runs


def test_every_event_runs_once(store: Store) -> None:
    @settings(
        max_examples=300 if isinstance(store, MemoryStore) else 30,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(STEPS)
    def walk(steps: list[tuple[object, int]]) -> None:
        check(store, steps)

    walk()
