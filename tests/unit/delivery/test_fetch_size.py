"""How many entries are fetched at once."""

from __future__ import annotations

from celeriac.delivery.chunk_store import Fetched
from celeriac.delivery.fetch_size import (
    FETCH_TIME_US,
    FEW,
    MAX_FETCH_BYTES,
    MAX_SIZE_UNKNOWN,
    FetchSize,
)
from celeriac.event_log import Entry


def seen(most: int = 1000, *, wanted: int = 100, bytes: int = 20_000) -> FetchSize:
    size = FetchSize(most)
    for _ in range(50):
        size.note(100, wanted, bytes)
    return size


def test_a_fetch_is_about_ten_milliseconds_of_work() -> None:
    assert [FETCH_TIME_US // 100, 2, 1] == [seen().count(us) for us in (100, 5_000, 1_000_000)]


def test_a_few_events_may_be_more_work() -> None:
    longest = 50_000
    counts = [seen().count(us, longest_us=longest) for us in (100, 400, 1_000, 5_000, 60_000)]
    assert [FEW, FEW, 50, 10, 1] == counts
    assert [7, 2, 2] == [seen().count(5_000, longest_us=longest, few=n) for n in (7, 2, 0)]


def test_a_process_leaves_as_many_to_the_others() -> None:
    def share(waiting: int | None, *, entries: int = 2, open_chunks: int = 4) -> int:
        fetched = Fetched((Entry("1-1", b""),) * entries, waiting=waiting, open_chunks=open_chunks)
        return fetched.share(2)

    assert [25, 1, 1, 0] == [share(n) for n in (100, 4, 1, 0)]
    assert [FEW, 0] == [share(None), share(None, entries=1)]
    # What was trimmed counts as waiting on some servers.
    assert 0 == share(5, entries=0)


def test_an_unmeasured_handler_gets_one_event() -> None:
    assert 1 == FetchSize(1000).count(0)


def test_a_trivial_handler_gets_as_many_as_are_allowed() -> None:
    assert [300, 1000] == [seen(300).count(1), seen().count(1)]


def test_until_the_size_of_events_is_known_few_are_fetched() -> None:
    assert MAX_SIZE_UNKNOWN == FetchSize(1000).count(1)


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
    assert MAX_SIZE_UNKNOWN == FetchSize(1000).count(0, 100)
    assert [500, 1000] == [seen().count(us, 500) for us in (20, 10)]


def test_an_empty_fetch_changes_no_size() -> None:
    size = FetchSize(1000)
    size.note(0, 0, 0)
    assert MAX_SIZE_UNKNOWN == size.count(1)
