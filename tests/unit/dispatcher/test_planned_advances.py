"""How far a group of a shared reading advances, and which of its entries become one chunk."""

from __future__ import annotations

from dataclasses import replace

import pytest

from celeriac.delivery.advance import Advance
from celeriac.delivery.fetch_size import FETCH_TIME_US, MAX_FETCH_BYTES, UNMEASURED, FetchSize
from celeriac.dispatcher.domain_reading import (
    DomainReading,
    PlannedAdvance,
    plan_chunk,
    plan_leaving,
)
from celeriac.dispatcher.group_state import UNKNOWN, GroupState
from celeriac.dispatcher.interest_index import InterestIndex
from tests.unit.dispatcher.groups import make_group
from tests.unit.dispatcher.readings import at, prefetch, reading_of


@pytest.mark.parametrize(
    ("count", "entries_read", "before"),
    [(4, 7, 3), (0, 0, 0), (0, 5, 5), (-1, 7, 9), (4, -1, 9)],
)
def test_the_entries_before_the_reading_are_calibrated_if_both_counts_are_known(
    count: int, entries_read: int, before: int
) -> None:
    reading = reading_of(make_group("order"))
    reading.read_before = 9
    reading.note_read(count, entries_read)
    assert before == reading.read_before


def plan(reading: DomainReading, state: GroupState, count: int = 10) -> PlannedAdvance:
    move = Advance(state.group, state.position, f"{count}-0", count - state.count, ())
    return PlannedAdvance(reading, state, move, (), count)


@pytest.mark.parametrize(
    ("read_before", "position", "remembered", "following"),
    [
        (5, 8, 10, "9-0"),
        (0, 8, 10, "9-0"),
        (5, 9, 10, "10-0"),
        (5, 0, 10, "1-0"),
        (5, 1, 9, "2-0"),
        (5, 0, 9, ""),  # the entry that follows is not remembered
        (5, 10, 10, ""),  # none follows
        (5, -1, 10, ""),
        (-1, 8, 10, ""),
    ],
)
def test_an_advance_needs_no_look_up_if_the_entry_that_follows_is_known(
    read_before: int, position: int, remembered: int, following: str
) -> None:
    state = make_group("order")
    reading = reading_of(state)
    while len(reading.newest) > remembered:
        reading.newest.popleft()
    reading.read_before, state.count = read_before, position
    planned = plan(reading, state)
    read = read_before + 10 if following else -1
    assert replace(planned.move, following=following, read=read) == reading.without_look_up(planned)


@pytest.mark.parametrize(
    ("position", "is_shared", "waits", "after", "entries"),
    [
        ("8-0", True, False, "8-0", 2),
        ("8-0", True, True, UNKNOWN, 2),
        ("8-0", False, False, UNKNOWN, 2),
        ("10-0", True, False, UNKNOWN, 0),
        (UNKNOWN, True, False, UNKNOWN, -1),
        ("0-0", True, False, "0-0", 10),
    ],
)
def test_a_group_catches_up_if_it_shares_and_waits_for_nothing(
    position: str, is_shared: bool, waits: bool, after: str, entries: int
) -> None:
    state = make_group("order")
    reading = reading_of(state)
    state.position, state.is_shared = position, is_shared
    state.count = -1 if position == UNKNOWN else int(position[:-2])
    if waits:
        prefetch(state, 9)
    assert Advance(state.group, after, "10-0", entries, ("order.#",)) == reading.catch_up(state)


# -- chunks


def chosen(state: GroupState, sizes: list[int]) -> int:
    """Return how many entries of these sizes are planned as one chunk."""
    reading = DomainReading("order", {}, InterestIndex([]), "0-0")
    for n, size in enumerate(sizes, 1):
        prefetch(state, n, size=size)
    return len(plan_chunk(reading, state).chosen)


@pytest.mark.parametrize(
    ("mean_us", "expected"),
    [(0, UNMEASURED), (1, 200), (100, FETCH_TIME_US // 100), (10 * FETCH_TIME_US, 1)],
)
def test_a_chunk_takes_about_the_time_of_one_fetch(mean_us: int, expected: int) -> None:
    state = make_group("order")
    state.size, state.mean_us = FetchSize(1000), mean_us
    assert expected == chosen(state, [1] * 200)


def test_a_chunk_has_at_most_the_bytes_of_one_fetch_but_at_least_one_entry() -> None:
    state, half = make_group("order"), MAX_FETCH_BYTES // 2
    assert 2 == chosen(state, [half, half, 1])
    assert 1 == chosen(make_group("order"), [MAX_FETCH_BYTES + 1, 1])


def test_a_chunk_of_all_that_a_group_waits_for_advances_it_to_the_end_of_what_was_read() -> None:
    state = make_group("order")
    reading = reading_of(state)
    at(state, 2)
    prefetch(state, 3, 4, 5)
    planned = plan_chunk(reading, state)
    move, chunk = planned.move, planned.move.chunk
    assert chunk is not None
    assert ("2-0", "10-0", 8, 10) == (move.after, move.upto, move.entries, planned.count)
    assert ("2-0", "5-0", 3, ()) == (chunk.after, chunk.upto, chunk.count, chunk.entries)
    assert ([3, 4, 5], False) == ([read.number for read in planned.chosen], planned.leaves)


def test_a_chunk_of_some_that_a_group_waits_for_advances_it_to_the_last_of_these() -> None:
    state = make_group("order")
    reading = reading_of(state)
    state.mean_us = FETCH_TIME_US // 2
    at(state, 2)
    prefetch(state, 3, 5, 6)
    planned = plan_chunk(reading, state)
    move, chunk = planned.move, planned.move.chunk
    assert chunk is not None
    assert ("2-0", "5-0", 3, 5) == (move.after, move.upto, move.entries, planned.count)
    assert ("3-0", "5-0") == chunk.entries, "entry 4-0 is not wanted"
    assert 2 == chunk.count


def test_the_number_of_entries_is_unknown_where_the_count_of_the_group_is() -> None:
    state = make_group("order")
    reading = reading_of(state)
    prefetch(state, 11)
    state.count = -1
    assert -1 == plan_chunk(reading, state).move.entries
    state.count = 0
    assert 10 == plan_chunk(reading, state).move.entries


def test_a_dense_group_leaves_with_its_chunk() -> None:
    state = make_group("order")
    reading = reading_of(state)
    prefetch(state, 11)
    reading.dense.add(state.group)
    assert plan_chunk(reading, state).leaves


@pytest.mark.parametrize(("position", "upto"), [(2, "4-0"), (3, "4-0"), (4, None), (6, None)])
def test_a_group_leaves_at_the_first_entry_that_it_waits_for(
    position: int, upto: str | None
) -> None:
    state = make_group("order")
    reading = reading_of(state)
    at(state, position)
    prefetch(state, 5, 7)
    planned = plan_leaving(reading, state)
    if upto is None:
        assert planned is None
        return
    assert planned is not None
    assert Advance(state.group, f"{position}-0", upto, 4 - position, ("order.#",)) == planned.move
    assert ((), 4, True) == (planned.chosen, planned.count, planned.leaves)
