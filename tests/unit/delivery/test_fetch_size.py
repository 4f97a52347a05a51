"""How many entries are fetched at once."""

from __future__ import annotations

from celeriac.delivery.fetch_size import (
    FETCH_TIME_US,
    MAX_FETCH_BYTES,
    SIZE_UNKNOWN_MOST,
    FetchSize,
)


def seen(most: int = 1000, *, wanted: int = 100, bytes: int = 20_000) -> FetchSize:
    size = FetchSize(most)
    for _ in range(50):
        size.note(100, wanted, bytes)
    return size


def test_a_fetch_is_about_ten_milliseconds_of_work() -> None:
    assert [FETCH_TIME_US // 100, 2, 1] == [seen().count(us) for us in (100, 5_000, 1_000_000)]


def test_an_unmeasured_handler_gets_one_event() -> None:
    assert 1 == FetchSize(1000).count(0)


def test_a_trivial_handler_gets_as_many_as_are_allowed() -> None:
    assert [300, 1000] == [seen(300).count(1), seen().count(1)]


def test_until_the_size_of_events_is_known_few_are_fetched() -> None:
    assert SIZE_UNKNOWN_MOST == FetchSize(1000).count(1)


def test_large_events_are_fetched_in_small_numbers_at_once() -> None:
    size = seen()
    size.note(1, 1, 100_000)
    assert MAX_FETCH_BYTES // 100_000 == size.count(1)
    size.note(1, 1, 10 * MAX_FETCH_BYTES)
    assert 1 == size.count(1)


def test_where_few_are_wanted_more_are_fetched() -> None:
    assert 20 == seen(wanted=10).count(5_000)
    assert 1000 == seen(wanted=0).count(5_000)


def test_wanted_ones_count_at_once() -> None:
    size = seen(wanted=0)
    size.note(10, 10, 1000)
    assert 2 == size.count(5_000)


def test_a_handler_of_batches_gets_whole_batches() -> None:
    assert SIZE_UNKNOWN_MOST == FetchSize(1000).count(0, 100)
    assert [500, 1000] == [seen().count(us, 500) for us in (20, 10)]


def test_a_fetch_of_nothing_says_nothing() -> None:
    size = FetchSize(1000)
    size.note(0, 0, 0)
    assert SIZE_UNKNOWN_MOST == size.count(1)
