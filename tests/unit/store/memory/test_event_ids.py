"""The event keys that entered a log: two generations, and the times that may repeat an event."""

from __future__ import annotations

import pytest

from celeriac.event_log.registered import Registered
from celeriac.store.memory.event_ids import CLOSE_MS, MAX_INTERVALS, MemoryIds

WINDOW = 1000
FIRST = Registered("1-0")


def kept(ids: MemoryIds) -> bool:
    return ids.get("k") is not None


@pytest.mark.parametrize(
    ("rotations", "is_kept"),
    [
        ([100], True),
        ([100 + WINDOW - 1], True),
        ([100 + WINDOW], True),
        ([100 + WINDOW, 100 + 2 * WINDOW - 1], True),
        ([100 + WINDOW, 100 + 2 * WINDOW], False),
        ([100 + 2 * WINDOW], False),
    ],
)
def test_a_key_is_kept_for_one_to_two_windows(rotations: list[int], is_kept: bool) -> None:
    ids = MemoryIds()
    ids.rotate(100, WINDOW)
    ids.put("k", FIRST, 100)
    ids.put("l", FIRST, 500)
    for now in rotations:
        ids.rotate(now, WINDOW)
    assert kept(ids) == is_kept


def test_a_generation_begins_with_its_first_key() -> None:
    ids = MemoryIds()
    ids.rotate(100, WINDOW)
    ids.put("k", FIRST, 100)
    ids.rotate(1100, WINDOW)
    assert (ids.current, ids.older) == ({}, {"k": FIRST})
    assert (ids.began_ms, ids.older_began_ms) == (None, 100)
    ids.put("l", FIRST, 1500)
    ids.put("m", FIRST, 1600)
    assert ids.began_ms == 1500
    ids.rotate(2499, WINDOW)
    assert set(ids.current) == {"l", "m"}
    ids.rotate(2500, WINDOW)
    assert (set(ids.older), ids.current) == ({"l", "m"}, {})


def test_the_newer_record_of_a_key_wins() -> None:
    ids = MemoryIds(current={"k": Registered("2-0")}, older={"k": FIRST})
    assert ids.get("k") == Registered("2-0")


@pytest.mark.parametrize("generation", ["current", "older"])
@pytest.mark.parametrize(("entry", "is_contested"), [("1-0", True), ("2-0", False)])
def test_only_the_entry_that_entered_can_be_contested(
    generation: str, entry: str, is_contested: bool
) -> None:
    ids = MemoryIds(**{generation: {"k": FIRST}})  # type: ignore[arg-type]
    ids.contest("k", entry)
    ids.contest("other", entry)
    found = ids.get("k")
    assert found is not None and found.is_contested == is_contested


@pytest.mark.parametrize("generation", ["current", "older"])
def test_the_first_entry_of_an_event_is_recorded(generation: str) -> None:
    ids = MemoryIds(**{generation: {"k": Registered("1-0", is_resolved=False)}})  # type: ignore[arg-type]
    ids.resolve("k", "0-1")
    ids.resolve("other", "0-1")
    assert getattr(ids, generation) == {"k": Registered("0-1")}


@pytest.mark.parametrize(
    ("noted", "intervals"),
    [
        ([(10, 20)], [(10, 20)]),
        ([(10, 20), (20 + CLOSE_MS, 90_000)], [(10, 90_000)]),
        ([(10, 20), (21 + CLOSE_MS, 90_000)], [(10, 20), (21 + CLOSE_MS, 90_000)]),
        ([(10, 20), (5, 15)], [(5, 20)]),
    ],
)
def test_close_intervals_are_joined(
    noted: list[tuple[int, int]], intervals: list[tuple[int, int]]
) -> None:
    ids = MemoryIds()
    for interval in noted:
        ids.note_ambiguous(*interval)
    assert ids.intervals == intervals


def test_too_many_intervals_join_the_oldest() -> None:
    ids, step = MemoryIds(), 2 * CLOSE_MS
    for n in range(MAX_INTERVALS):
        ids.note_ambiguous(n * step, n * step + 1)
    assert len(ids.intervals) == MAX_INTERVALS
    assert ids.intervals[:2] == [(0, 1), (step, step + 1)]
    ids.note_ambiguous(MAX_INTERVALS * step, MAX_INTERVALS * step + 1)
    assert len(ids.intervals) == MAX_INTERVALS
    assert ids.intervals[:2] == [(0, step + 1), (2 * step, 2 * step + 1)]


@pytest.mark.parametrize(
    ("first", "last", "is_ambiguous"),
    [(0, 9, False), (0, 10, True), (12, 13, True), (20, 30, True), (21, 30, False)],
)
def test_a_time_within_an_interval_is_ambiguous(first: int, last: int, is_ambiguous: bool) -> None:
    ids = MemoryIds(intervals=[(10, 20), (100, 110)])
    assert ids.is_ambiguous(first, last) is is_ambiguous
    assert not MemoryIds().is_ambiguous(first, last)
