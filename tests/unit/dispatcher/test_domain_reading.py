"""What a shared reading remembers of its groups. Entry `n-0` has the number n."""

from __future__ import annotations

import pytest

from celeriac import Event
from celeriac.dispatcher.domain_reading import DENSE_FROM
from celeriac.dispatcher.group_state import UNKNOWN
from celeriac.dispatcher.interest_index import InterestIndex
from celeriac.event_log import Entry
from celeriac.handler import HandlerOptions, make_handler
from tests.unit.dispatcher.groups import make_group
from tests.unit.dispatcher.readings import at, entry, prefetch, reading_of


def handle(event: Event) -> None: ...


def test_read_entries_are_prefetched_for_the_shared_groups_that_want_them() -> None:
    shared, separate = make_group("order", "a"), make_group("order", "b")
    reading = reading_of(shared, separate)
    separate.is_shared = False
    assert reading.add([entry(11), entry(12)], is_full=False)
    assert [(11, "10-0", "11-0"), (12, "11-0", "12-0")] == [
        (read.number, read.before, read.entry.id) for read in shared.prefetched
    ]
    assert ([shared], 0) == (list(reading.waiting.values()), len(separate.prefetched))
    assert ("12-0", 12, False) == (reading.upto, reading.count, reading.is_behind)
    assert ["11-0", "12-0"] == list(reading.newest)[-2:]


@pytest.mark.parametrize("is_full", [True, False])
def test_after_a_full_page_there_may_be_more(is_full: bool) -> None:
    reading = reading_of(make_group("order"))
    reading.is_behind = True
    reading.add([entry(11)], is_full=is_full)
    assert is_full is reading.is_behind


def test_a_reading_ends_before_an_entry_that_is_no_event() -> None:
    state = make_group("order")
    reading = reading_of(state)
    assert not reading.add([entry(11), Entry("12-0", None), entry(13)], is_full=False)
    assert ("11-0", 11, 1) == (reading.upto, reading.count, len(state.prefetched))
    assert "11-0" == reading.newest[-1]


def test_the_sizes_of_read_entries_are_measured_for_the_domain_and_each_group() -> None:
    state = make_group("order")
    reading = reading_of(state)
    entries = [entry(11), entry(12, "order.paid")]
    size = sum(len(one.body or b"") for one in entries)
    reading.add(entries, is_full=False)
    assert (size / 2, size / 2) == (reading.size.mean_bytes, state.size.mean_bytes)
    assert size == reading.bytes_ahead
    reading.waiting.clear()
    assert 0 == reading.bytes_ahead


@pytest.mark.parametrize(
    ("wanted", "entries", "is_full", "dense"),
    [
        (DENSE_FROM, DENSE_FROM, True, True),
        (DENSE_FROM // 2 + 1, DENSE_FROM, True, True),
        (DENSE_FROM // 2, DENSE_FROM, True, False),
        (DENSE_FROM - 1, DENSE_FROM - 1, True, False),
        (DENSE_FROM, DENSE_FROM, False, False),
    ],
)
def test_a_group_is_dense_if_it_wants_more_than_half_of_a_backlog(
    wanted: int, entries: int, is_full: bool, dense: bool
) -> None:
    state = make_group("order")
    handler = make_handler(handle, ("order.a",), HandlerOptions(name="charge"), service="billing")
    reading = reading_of(state)
    reading.index = InterestIndex([(state.group, handler)])
    types = ["order.a"] * wanted + ["order.b"] * (entries - wanted)
    reading.add([entry(11 + n, type) for n, type in enumerate(types)], is_full=is_full)
    assert dense is (state.group in reading.dense)


def test_a_group_that_is_no_longer_served_waits_for_nothing() -> None:
    kept, gone = make_group("order", "a"), make_group("order", "b")
    reading = reading_of(kept, gone)
    reading.add([entry(11)], is_full=False)
    reading.serve([kept], reading.index)
    assert ([kept], [kept]) == (list(reading.waiting.values()), reading.shared)


def test_groups_that_read_separately_do_not_share() -> None:
    state = make_group("order")
    reading = reading_of(state)
    assert reading.has_shared
    state.is_shared = False
    assert (False, []) == (reading.has_shared, reading.shared)


# -- positions


@pytest.mark.parametrize(
    ("position", "has_reached"),
    [("9-0", False), ("10-0", True), ("11-0", True), ("9-9", False), (UNKNOWN, False)],
)
def test_a_group_has_reached_the_reading_from_its_position(
    position: str, has_reached: bool
) -> None:
    state = make_group("order")
    reading = reading_of(state)
    state.position = position
    assert has_reached is reading.has_reached(state)


@pytest.mark.parametrize(
    ("position", "remaining"),
    [("11-0", [12, 14]), ("12-0", [14]), ("13-5", [14]), ("14-0", []), (UNKNOWN, [12, 14])],
)
def test_entries_that_another_worker_fetched_are_not_waited_for(
    position: str, remaining: list[int]
) -> None:
    state = make_group("order")
    reading = reading_of(state)
    prefetch(state, 12, 14)
    reading.waiting[state.group], state.position = state, position
    reading.dense.add(state.group)
    assert bool(remaining) is reading.is_waiting(state)
    assert remaining == [read.number for read in state.prefetched]
    still = {state.group} if remaining else set()
    assert (still, still) == (set(reading.waiting), reading.dense)


def test_the_first_groups_at_the_end_begin_the_reading_at_the_furthest_of_them() -> None:
    near, far, unknown = (make_group("order", name) for name in "abc")
    reading = reading_of(near, far, unknown)
    for state in (near, far, unknown):
        state.is_shared = False
    at(near, 12)
    at(far, 20)
    unknown.position = UNKNOWN
    reading.read_before = 5
    reading.note_fetched([near, far, unknown], at_end=True)
    assert ("20-0", -1, 0) == (reading.upto, reading.read_before, len(reading.newest))
    assert ("20-0", [False, True, True]) == (
        unknown.position, [state.is_shared for state in (near, far, unknown)]
    )  # fmt: skip
    assert [-1, reading.count, reading.count] == [state.count for state in (near, far, unknown)]
    assert reading.is_behind, "entries may have been added since"


def test_groups_that_are_not_at_the_end_begin_a_reading_that_no_group_shares() -> None:
    state = make_group("order")
    reading = reading_of(state)
    state.is_shared = False
    at(state, 15)
    reading.note_fetched([state], at_end=False)
    assert ("15-0", True) == (reading.upto, state.is_shared)


def test_a_group_before_the_reading_remains_separate_and_one_behind_it_shares() -> None:
    shared, before, behind = (make_group("order", name) for name in "abc")
    reading = reading_of(shared, before, behind)
    before.is_shared = behind.is_shared = False
    at(before, 9)
    at(behind, 12)
    reading.note_fetched([before, behind], at_end=False)
    assert ("10-0", False, True) == (reading.upto, before.is_shared, behind.is_shared)
    assert (-1, True) == (behind.count, reading.is_behind)


def test_a_group_that_remains_separate_does_not_make_the_reading_behind() -> None:
    shared, before = make_group("order", "a"), make_group("order", "b")
    reading = reading_of(shared, before)
    before.is_shared = False
    at(before, 9)
    reading.note_fetched([before], at_end=False)
    assert (False, False) == (reading.is_behind, before.is_shared)


def test_without_a_known_position_a_fetch_moves_nothing() -> None:
    state = make_group("order")
    reading = reading_of(state)
    state.is_shared, state.position = False, UNKNOWN
    reading.note_fetched([state], at_end=False)
    assert ("10-0", UNKNOWN, False) == (reading.upto, state.position, state.is_shared)


def test_a_reading_returns_to_the_end_of_a_log_that_lost_entries() -> None:
    shared, fetched = make_group("order", "a"), make_group("order", "b")
    reading = reading_of(shared, fetched)
    fetched.is_shared, reading.read_before = False, 3
    at(fetched, 7)
    prefetch(shared, 6, 7, 8, 9)
    reading.note_fetched([fetched], at_end=True)
    assert ("7-0", -1, 0) == (reading.upto, reading.read_before, len(reading.newest))
    assert ([6, 7], -1) == ([read.number for read in shared.prefetched], shared.count)
    assert fetched.is_shared


def test_groups_at_the_position_of_the_reading_change_none_of_its_counts() -> None:
    shared, fetched = make_group("order", "a"), make_group("order", "b")
    reading = reading_of(shared, fetched)
    fetched.is_shared, reading.read_before = False, 3
    reading.note_fetched([fetched], at_end=True)
    assert (3, 10, 10) == (reading.read_before, len(reading.newest), shared.count)
