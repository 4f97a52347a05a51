"""Ids of entries."""

from __future__ import annotations

import pytest

from celeriac.event_log import entry_key, entry_time_ms
from celeriac.store.memory.stream import Stream, following


def test_ids_are_compared_as_numbers() -> None:
    assert ["9-1", "10-2", "10-10"] == sorted(["10-10", "9-1", "10-2"], key=entry_key)
    assert (10, 0) == entry_key("10")
    assert 10 == entry_time_ms("10-3")


@pytest.mark.parametrize(
    ("last", "now_ms", "expected"),
    [((5, 3), 6, (6, 0)), ((5, 3), 5, (5, 4)), ((5, 3), 4, (5, 4))],
)
def test_an_id_is_after_the_last_also_where_the_clock_is_behind(
    last: tuple[int, int], now_ms: int, expected: tuple[int, int]
) -> None:
    assert expected == following(last, now_ms)


def test_an_id_is_not_given_twice_after_a_removal() -> None:
    stream: Stream[str] = Stream()
    assert "5-0" == stream.append(5, "a")
    assert stream.remove("5-0")
    assert not stream.remove("5-0")
    assert "5-1" == stream.append(5, "b")


def test_a_bound_without_a_sequence_means_the_whole_millisecond() -> None:
    stream: Stream[int] = Stream()
    for now_ms in (4, 5, 5, 6):
        stream.append(now_ms, now_ms)
    assert ["5-0", "5-1"] == [entry for entry, _ in stream.range("5", "5")]
