"""Which ticks are emitted after a pause."""

from __future__ import annotations

import pytest

from celeriac.schedule import MAX_LATE_MS, Due, Missed, due_tick
from celeriac.schedule.due import MAX_COUNTED
from celeriac.schedule.ticks import EveryTicks

MINUTE = 60_000
TICKS = EveryTicks(10 * MINUTE)


@pytest.mark.parametrize("missed", ["last", "none", "all"])
def test_a_tick_is_due_from_its_time_on(missed: Missed) -> None:
    at = 20 * MINUTE
    assert due_tick(TICKS, missed, at, at - 1) is None
    assert due_tick(TICKS, missed, at, at) == Due(at, 30 * MINUTE)
    assert due_tick(TICKS, missed, at, at + MAX_LATE_MS) == Due(at, 30 * MINUTE)


def test_a_tick_that_is_late_is_dropped_with_none() -> None:
    at = 20 * MINUTE
    assert due_tick(TICKS, "none", at, at + MAX_LATE_MS + 1) == Due(None, 30 * MINUTE, 1)
    assert due_tick(TICKS, "none", at, at + 35 * MINUTE) == Due(None, 60 * MINUTE, 4)
    assert due_tick(TICKS, "none", at, at + 30 * MINUTE) == Due(50 * MINUTE, 60 * MINUTE, 3)


def test_of_missed_ticks_last_emits_one_and_all_every_one() -> None:
    at, now = 20 * MINUTE, 55 * MINUTE
    assert due_tick(TICKS, "last", at, now) == Due(50 * MINUTE, 60 * MINUTE, 3)
    emitted = []
    while due := due_tick(TICKS, "all", at, now):
        emitted.append(due.tick_ms)
        assert not due.dropped
        at = due.next_ms
    assert emitted == [20 * MINUTE, 30 * MINUTE, 40 * MINUTE, 50 * MINUTE]


def test_a_stored_tick_that_is_none_of_the_definition_is_emitted_all_the_same() -> None:
    assert due_tick(TICKS, "last", 21 * MINUTE, 25 * MINUTE) == Due(21 * MINUTE, 30 * MINUTE)


def test_dropped_ticks_are_counted_up_to_a_limit() -> None:
    """A cron expression is asked for each of them."""
    due = due_tick(TICKS, "last", 0, 10_000_000 * MINUTE)
    assert due is not None and due.dropped == MAX_COUNTED
