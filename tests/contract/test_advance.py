"""Groups that are moved past entries which were read once for all of them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import pytest

from celeriac.delivery import Group
from celeriac.delivery.advance import Advance, Advanced, NewChunk
from celeriac.delivery.chunk_store import ChunkCompletion, ChunkProgress, ChunkRequest
from celeriac.event import new_event_id
from celeriac.event_log import EntryKind
from tests.contract.store import DOMAIN, Store
from tests.contract.test_registered import event

OTHER = Group(DOMAIN, "other")
_ids = itertools.count()


@pytest.fixture
def entries(store: Store, group: Group) -> list[str]:
    store.event_log.join(DOMAIN, OTHER.handler, "0")
    return [store.emit(name) for name in "abcde"]


def move(
    group: Group,
    entries: Sequence[str],
    upto: int,
    *,
    after: int = -1,
    chunk: tuple[int, int] | None = None,
    patterns: tuple[str, ...] = ("a.#",),
    named: Sequence[int] = (),
) -> Advance:
    """Up to the entry with that index; `chunk` are the first and the last index of it, `named`
    those of a sparse one."""

    def at(index: int) -> str:
        return entries[index] if index >= 0 else "0-0"

    new = None
    if chunk is not None:
        first, last = chunk
        count = len(named) or last - first + 1
        only = tuple(at(index) for index in named)
        new = NewChunk(f"new{next(_ids)}", at(first - 1), at(last), count, only)
    return Advance(group, at(after), at(upto), upto - after, patterns, new)


def advance(store: Store, *moves: Advance) -> list[Advanced]:
    return store.chunks.advance("w1", moves)


def lag(store: Store, group: Group) -> int | None:
    return next(one.lag for one in store.event_log.groups(DOMAIN) if one.handler == group.handler)


def waiting(store: Store, group: Group) -> list[str]:
    [fetched] = store.chunks.fetch("w2", [ChunkRequest(group, f"rest{next(_ids)}", 100)])
    return [entry.id for entry in fetched.entries]


def test_a_group_moves_past_entries_without_a_record(
    store: Store, group: Group, entries: list[str]
) -> None:
    [answer] = advance(store, move(group, entries, 2))
    assert (True, entries[2]) == (answer.is_moved, answer.position)
    assert (2, []) == (lag(store, group), store.chunks.open_chunks(group))
    assert entries[3:] == waiting(store, group)
    assert entries == waiting(store, OTHER)


def test_what_the_handler_wants_is_a_queued_chunk_of_the_worker(
    store: Store, group: Group, entries: list[str]
) -> None:
    one = move(group, entries, 4, chunk=(1, 3))
    [answer] = advance(store, one)
    assert (True, 1, False) == (answer.is_moved, answer.open_chunks, answer.is_ambiguous)
    [chunk] = store.chunks.open_chunks(group)
    assert (entries[0], entries[3], "queued:w1") == (chunk.after, chunk.upto, chunk.owner)
    assert one.chunk is not None
    begun = store.chunks.begin("w1", group, one.chunk.id)
    assert begun is not None
    assert entries[1:4] == [entry.id for entry in begun]
    assert [] == waiting(store, group)


def test_a_sparse_chunk_has_only_the_entries_that_it_names(
    store: Store, group: Group, entries: list[str]
) -> None:
    one = move(group, entries, 4, chunk=(0, 3), named=(0, 2, 3))
    [answer] = advance(store, one)
    assert (True, 1) == (answer.is_moved, answer.open_chunks)
    [chunk] = store.chunks.open_chunks(group)
    named = [entries[0], entries[2], entries[3]]
    assert (3, named) == (chunk.count, [one for one in entries if chunk.has(one)])
    assert one.chunk is not None
    begun = store.chunks.begin("w2", group, one.chunk.id)
    assert begun is not None
    assert named == [entry.id for entry in begun]
    [chunk] = store.chunks.open_chunks(group)
    assert named == [entry.id for entry in store.chunks.remaining(group, chunk)]
    assert [] == store.chunks.renew("w2", group, [one.chunk.id])
    done = ChunkCompletion(until=entries[0], done=1)
    assert store.chunks.complete("w2", group, one.chunk.id, done)
    [chunk] = store.chunks.open_chunks(group)
    assert named[1:] == [entry.id for entry in store.chunks.remaining(group, chunk)]
    ran = ChunkProgress(until=entries[2], done=1, record=b"")
    assert store.chunks.begin_progress("w2", group, chunk.id, ran).result()
    [chunk] = store.chunks.open_chunks(group)
    assert (1, named[2:]) == (chunk.count, [one for one in entries if chunk.has(one)])
    assert 1 == store.chunks.requeue("w2", group, chunk.id)
    assert named[2:] == [d.entry for d in store.fetch(group).deliveries]
    assert [] == store.chunks.open_chunks(group)


@pytest.mark.parametrize("begun", [False, True])
def test_what_a_sparse_chunk_names_is_pending_once_its_lease_expired(
    store: Store, group: Group, entries: list[str], begun: bool
) -> None:
    one = move(group, entries, 4, chunk=(1, 4), named=(1, 4))
    advance(store, one)
    assert one.chunk is not None
    if begun:
        store.chunks.begin("w1", group, one.chunk.id, read=False)
    with store.leases_over():
        assert 2 == store.chunks.reclaim([group])
    assert [entries[1], entries[4]] == [d.entry for d in store.fetch(group).deliveries]


def test_the_lease_of_the_chunk_begins(store: Store, group: Group, entries: list[str]) -> None:
    advance(store, move(group, entries, 4, chunk=(0, 4)))
    assert 0 == store.chunks.reclaim([group])
    with store.leases_over():
        assert 5 == store.chunks.reclaim([group])


@pytest.mark.parametrize("stands", [0, 3, 4])
def test_a_group_at_another_position_stays_and_returns_it(
    store: Store, group: Group, entries: list[str], stands: int
) -> None:
    advance(store, move(group, entries, stands))
    [answer] = advance(store, move(group, entries, 3, after=2, chunk=(3, 3)))
    assert (False, entries[stands]) == (answer.is_moved, answer.position)
    assert [] == store.chunks.open_chunks(group)
    assert entries[stands + 1 :] == waiting(store, group)


@pytest.mark.parametrize("stands", [-1, 0, 2, 4])
def test_a_group_that_is_not_looked_up_moves_from_its_position_or_not_at_all(
    store: Store, group: Group, entries: list[str], stands: int
) -> None:
    if stands >= 0:
        advance(store, move(group, entries, stands))
    one = replace(move(group, entries, 3, after=0, chunk=(2, 2)), following=entries[1], read=4)
    [answer] = advance(store, one)
    at = 3 if stands == 0 else stands
    position = entries[at] if at >= 0 else "0-0"
    assert (stands == 0, position) == (answer.is_moved, answer.position)
    assert (stands == 0) == bool(store.chunks.open_chunks(group))
    assert 4 - at == lag(store, group)
    assert entries[at + 1 :] == waiting(store, group)


def test_a_group_that_is_gone_is_not_looked_up_in_vain(
    store: Store, group: Group, entries: list[str]
) -> None:
    store.event_log.leave(DOMAIN, group.handler)
    one = replace(move(group, entries, 3), following=entries[0], read=4)
    assert [(False, "")] == [(a.is_moved, a.position) for a in advance(store, one)]


def test_an_unknown_group_returns_its_position(
    store: Store, group: Group, entries: list[str]
) -> None:
    [answer] = advance(store, Advance(group, "-", entries[4], 5, ("a.#",)))
    assert (False, "0-0") == (answer.is_moved, answer.position)


def test_a_group_that_is_gone_has_no_position(
    store: Store, group: Group, entries: list[str]
) -> None:
    store.event_log.leave(DOMAIN, group.handler)
    gone, other = advance(store, move(group, entries, 2), move(OTHER, entries, 2))
    assert (False, "") == (gone.is_moved, gone.position)
    assert other.is_moved


def test_a_domain_without_a_log_has_no_groups(store: Store) -> None:
    nowhere = Group("nowhere", "plain")
    assert [Advanced()] == [
        Advanced(one.is_moved, one.position)
        for one in advance(store, Advance(nowhere, "0-0", "5-0", 1, ("a.#",)))
    ]
    assert [] == advance(store)


def test_a_group_whose_handler_has_another_version_in_force_stays(
    store: Store, group: Group, entries: list[str]
) -> None:
    store.deliveries.note_patterns(group, ["a.#", "b.#"])
    [answer] = advance(store, move(group, entries, 2))
    assert (False, "0-0") == (answer.is_moved, answer.position)
    [answer] = advance(store, move(group, entries, 2, patterns=("b.#", "a.#")))
    assert answer.is_moved


def test_no_group_moves_to_an_entry_that_the_log_lost(
    store: Store, group: Group, entries: list[str]
) -> None:
    ms, sequence = entries[4].split("-")
    lost = f"{int(ms) + 1}-{sequence}"
    [answer] = advance(store, Advance(group, "0-0", lost, 6, ("a.#",)))
    assert (False, "0-0") == (answer.is_moved, answer.position)


def test_each_of_many_groups_moves_by_itself(store: Store, entries: list[str]) -> None:
    many = [Group(DOMAIN, f"h{n}") for n in range(300)]
    for group in many:
        store.event_log.join(DOMAIN, group.handler, "0")
    advance(store, move(many[7], entries, 1))
    moves = [
        move(group, entries, 4, chunk=(2, 2) if n == 299 else None) for n, group in enumerate(many)
    ]
    answers = advance(store, *moves)
    assert [7] == [n for n, answer in enumerate(answers) if not answer.is_moved]
    assert 1 == len(store.chunks.open_chunks(many[299]))
    lags = {group.handler: group.lag for group in store.event_log.groups(DOMAIN)}
    assert {0} == {lags[group.handler] for group in many if group != many[7]}


def test_pending_deliveries_are_counted_for_each_handler_of_a_domain(
    store: Store, group: Group, entries: list[str]
) -> None:
    [answer] = advance(store, move(group, entries, 1))
    assert not answer.has_open
    store.fetch(group)
    [answer] = advance(store, move(group, entries, 1))
    assert answer.has_open
    counts, nowhere = store.deliveries.pending_counts([DOMAIN, "nowhere"])
    assert counts is not None
    assert (3, 0) == (counts[group.handler], counts[OTHER.handler])
    assert {} == nowhere
    assert [] == store.deliveries.pending_counts([])


def test_a_chunk_that_may_repeat_an_event_is_ambiguous(
    store: Store, group: Group, entries: list[str]
) -> None:
    now_ms = int(entries[4].split("-")[0])
    again = store.event_log.append(DOMAIN, event(new_event_id()), EntryKind.MADE, now_ms)
    [answer] = advance(store, move(group, [*entries, again], 5, chunk=(5, 5)))
    assert answer.is_ambiguous
