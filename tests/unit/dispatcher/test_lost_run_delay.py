"""When deliveries run again whose workers died under them."""

from __future__ import annotations

from celeriac.delivery import MAX_LOST_RUNS, Outcome
from celeriac.dispatcher.chunk import Item
from celeriac.dispatcher.lost_run_delay import delay_lost_runs, lost_run_delay_ms
from celeriac.event import build_event, encode, read_header

EVENT = read_header(encode(build_event("order.placed", None, source="shop")))


def item(lost_runs: int) -> Item:
    return Item(f"{lost_runs}-0", lost_runs, EVENT, lost_runs)


def test_the_first_two_lost_runs_delay_nothing() -> None:
    items = [item(0), item(1), item(2)]
    assert (items, []) == delay_lost_runs(items, 30.0, lambda: 0.99)


def test_after_more_each_waits_for_a_random_time_with_no_attempt_counted() -> None:
    chances = iter([0.0, 0.5])
    now, later = delay_lost_runs([item(3), item(4)], 30.0, lambda: next(chances))
    assert [] == now
    assert [("3-0", 3, 0), ("4-0", 4, 60_000)] == [
        (one.entry, one.attempt, one.delay_ms) for one in later
    ]
    assert {Outcome.REQUEUED} == {one.outcome for one in later}


def test_the_time_doubles_up_to_ten_leases() -> None:
    assert [2, 4, 8, 10, 10] == [lost_run_delay_ms(n, 1.0, 1.0) // 1000 for n in (3, 4, 5, 6, 9)]


def test_a_delivery_that_is_given_up_does_not_wait_for_it() -> None:
    given_up = item(MAX_LOST_RUNS)
    assert ([given_up], []) == delay_lost_runs([given_up], 30.0, lambda: 0.5)
