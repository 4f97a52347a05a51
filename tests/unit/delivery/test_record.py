"""Rows and failures as they lie in Redis."""

from __future__ import annotations

from celeriac.delivery import DeliveryState, Failure, History, Restart, Row
from celeriac.delivery.record import format_row, parse_history, parse_row

ROW = Row(
    state=DeliveryState.PROCESSED,
    entry="1700000000000-3",
    attempt=2,
    at_ms=1700000000250,
    took_us=9,
)


def test_a_row_is_written_relative_to_the_time_of_its_entry() -> None:
    assert b"processed 1700000000000-3 2 250 9" == format_row(ROW)
    assert ROW == parse_row(format_row(ROW))


def test_a_row_may_be_older_than_its_entry_where_a_clock_was_set_back() -> None:
    assert 1699999999950 == parse_row(b"running 1700000000000-0 1 -50 0").at_ms


def test_the_dead_letter_after_a_row_is_skipped() -> None:
    assert DeliveryState.DEAD == parse_row(b"dead 1700000000000-0 1 5 0 1700000000005-0").state


def test_failures_are_one_a_line_and_hold_any_text() -> None:
    failures = [
        Failure(attempt=1, at=5, error='line\nand "at":7', took=3, worker="w"),
        Failure(attempt=2, at=6, error="é"),
    ]
    stored = b"\n".join(failure.encode() for failure in failures)
    assert History(tuple(failures)) == parse_history(stored)


def test_the_first_time_in_a_failure_is_its_own() -> None:
    encoded = Failure(attempt=1, at=5, error='"at":7').encode()
    assert encoded.index(b'"at":5') < encoded.index(b"error")


def test_a_line_without_an_attempt_begins_another_life() -> None:
    stored = b"\n".join(
        [Failure(attempt=3, at=5, error="a").encode(), b'{"at":6,"note":"{}"}',
         Failure(attempt=1, at=7, error="b").encode()]
    )  # fmt: skip
    past = parse_history(stored)
    assert [1, 2] == [failure.life for failure in past.failures]
    assert (Restart(at=6, note="{}", life=2),) == past.restarts
