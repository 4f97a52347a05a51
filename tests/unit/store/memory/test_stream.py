"""A stream in memory: its ids, its ranges, and the positions of its groups."""

from __future__ import annotations

import pytest

from celeriac.delivery.state import DeliveryState
from celeriac.store.memory.stream import (
    MemoryChunk,
    MemoryGroup,
    PendingEntry,
    Stream,
    following,
    state_of,
)

IDS = ["5-0", "5-1", "7-0", "9-0"]


@pytest.fixture
def stream() -> Stream[str]:
    stream: Stream[str] = Stream()
    for ms in (5, 5, 7, 9):
        stream.append(ms, f"at {ms}")
    return stream


def ids(entries: list[tuple[str, str]]) -> list[str]:
    return [entry for entry, _ in entries]


@pytest.mark.parametrize(
    ("last", "now", "key"),
    [((5, 3), 4, (5, 4)), ((5, 3), 5, (5, 4)), ((5, 3), 6, (6, 0)), ((0, 0), 1, (1, 0))],
)
def test_an_id_is_never_older_than_the_last(
    last: tuple[int, int], now: int, key: tuple[int, int]
) -> None:
    assert following(last, now) == key


def test_entries_are_numbered_and_counted(stream: Stream[str]) -> None:
    assert ids(stream.range("-", "+")) == IDS
    assert (len(stream), stream.appended, stream.last) == (4, 4, (9, 0))
    assert (stream.get("7-0"), stream.get("7-1")) == ("at 7", None)
    assert stream.remove("9-0") is True
    assert stream.remove("9-0") is False
    assert (len(stream), stream.appended, stream.last) == (3, 4, (9, 0))
    assert stream.append(9, "again") == "9-1"


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ("-", "+", IDS),
        ("5-1", "7-0", ["5-1", "7-0"]),
        ("(5-1", "+", ["7-0", "9-0"]),
        ("-", "(7-0", ["5-0", "5-1"]),
        ("5", "5", ["5-0", "5-1"]),
        ("6", "8", ["7-0"]),
        ("(7-0", "(9-0", []),
        ("9-0", "5-0", []),
        ("(9-0", "+", []),
        ("-", "4", []),
    ],
)
def test_a_range_has_bounds_like_redis(
    stream: Stream[str], start: str, end: str, expected: list[str]
) -> None:
    assert ids(stream.range(start, end)) == expected
    group = MemoryGroup((0, 0), {entry: PendingEntry("blocked", 0) for entry in reversed(IDS)})
    assert group.between(start, end) == expected


@pytest.mark.parametrize(
    ("key", "count", "after", "number"),
    [
        ((0, 0), 9, IDS, 4),
        ((5, 0), 2, ["5-1", "7-0"], 3),
        ((6, 0), 9, ["7-0", "9-0"], 2),
        ((9, 0), 9, [], 0),
        ((5, 0), 0, [], 3),
    ],
)
def test_entries_after_a_position(
    stream: Stream[str], key: tuple[int, int], count: int, after: list[str], number: int
) -> None:
    assert ids(stream.after(key, count)) == after
    assert stream.count_after(key) == number


def test_the_position_past_the_end_is_the_next_id(stream: Stream[str]) -> None:
    assert [stream.nth(n) for n in (0, 3, 4, 9)] == [(5, 0), (9, 0), (9, 1), (9, 1)]


@pytest.mark.parametrize(
    ("key", "removed", "kept"),
    [((0, 0), 0, IDS), ((5, 1), 1, IDS[1:]), ((8, 0), 3, IDS[3:]), ((9, 1), 4, [])],
)
def test_trimming_removes_what_is_older(
    stream: Stream[str], key: tuple[int, int], removed: int, kept: list[str]
) -> None:
    assert stream.trim_before(key) == removed
    assert ids(stream.range("-", "+")) == kept
    assert stream.get("5-0") == ("at 5" if not removed else None)


@pytest.mark.parametrize(
    ("entries", "has"),
    [((), ["5-1", "7-0"]), (("7-0",), ["7-0"]), (("5-0", "9-0"), [])],
)
def test_a_chunk_has_the_entries_of_its_interval(
    stream: Stream[str], entries: tuple[str, ...], has: list[str]
) -> None:
    chunk = MemoryChunk((5, 0), (7, 0), "queued:w", 0, entries)
    assert [entry for entry in IDS if chunk.has(entry)] == has
    assert ids(chunk.remaining(stream)) == has


def test_what_a_group_has_not_read_or_not_finished_waits_for_it() -> None:
    group = MemoryGroup((7, 0), chunks={"a": MemoryChunk((5, 0), (5, 1), "queued:w", 0)})
    assert [group.waits_for(entry) for entry in IDS] == [False, True, False, True]


def test_the_entries_of_an_owner_are_in_log_order() -> None:
    pending = {
        "10-0": PendingEntry("queued:w", 0),
        "9-0": PendingEntry("queued:w", 0),
        "8-0": PendingEntry("queued:v", 0),
    }
    assert MemoryGroup((0, 0), pending).owned_by("queued:w") == ["9-0", "10-0"]


@pytest.mark.parametrize("owner", ["queued:w", "queued:a:b", "queued"])
def test_the_state_of_an_owner_is_the_first_part(owner: str) -> None:
    assert state_of(owner) is DeliveryState.QUEUED
