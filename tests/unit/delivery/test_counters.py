"""Counting what a handler did: buckets, quantiles, and the fields that the script writes."""

from __future__ import annotations

import math

import pytest

from celeriac.delivery import HandlerStats, Histogram, Outcome, sum_counters
from celeriac.delivery.counters import (
    FIRST,
    LAST,
    Counters,
    add_counter,
    bucket_of,
    count_completed,
    count_processed,
    upper_bound_s,
)
from celeriac.event_log import entry_time_ms


@pytest.mark.parametrize(
    ("us", "bucket"),
    [
        (0, FIRST),
        (1, FIRST),
        (999, 0),
        (1000, 1),
        (1999, 1),
        (2000, 2),
        (10**6, 10),
        (10**13, LAST),
    ],
)
def test_a_duration_is_counted_in_the_bucket_of_its_power_of_two(us: int, bucket: int) -> None:
    assert bucket == bucket_of(us)
    assert us / 1e6 < upper_bound_s(bucket)


def test_the_last_bucket_has_no_bound() -> None:
    assert math.inf == upper_bound_s(LAST)
    assert 0.001 == upper_bound_s(0)


def test_a_quantile_is_interpolated_within_its_bucket() -> None:
    histogram = Histogram()
    assert histogram.quantile(0.95) is None
    assert histogram.mean_s is None
    for _ in range(100):
        histogram.observe(3000)  # between 2 and 4 ms
    assert 0.003 == histogram.quantile(0.5)
    assert 0.003 == histogram.mean_s
    for _ in range(100):
        histogram.observe(1_000_000)
    middle, late = histogram.quantile(0.5), histogram.quantile(0.95)
    assert middle is not None and middle <= 0.004
    assert late is not None and 0.512 < late <= 1.024


def test_fields_of_the_script_become_tallies_by_type() -> None:
    counters: dict[str, HandlerStats] = {}
    stored = {
        b"order.placed processed": b"7",
        b"order.placed retry": b"2",
        b"order.placed run 3": b"9",
        b"order.placed run us": b"40000",
        b"order.paid skipped": b"1",
    }
    for field, value in stored.items():
        add_counter(counters, field.decode(), value)
    assert {"order.placed", "order.paid"} == counters.keys()
    placed = counters["order.placed"]
    assert (7, 2, 0, 9) == (placed.processed, placed.retried, placed.dead, placed.attempts)
    assert Histogram({3: 9}, 40000) == placed.run
    assert 1 == counters["order.paid"].skipped


def test_tallies_add_up_and_leave_their_parts_alone() -> None:
    one = {"a": HandlerStats(processed=1, run=Histogram({1: 1}, 5))}
    two = {
        "a": HandlerStats(processed=2, dead=1, run=Histogram({1: 1, 2: 1}, 7)),
        "b": HandlerStats(retried=1),
    }
    total = sum_counters([one, two])
    assert HandlerStats(processed=3, dead=1, run=Histogram({1: 2, 2: 1}, 12)) == total["a"]
    assert 1 == total["b"].retried
    assert HandlerStats(processed=1, run=Histogram({1: 1}, 5)) == one["a"]


def test_what_a_chunk_counts_is_what_its_deliveries_count_one_by_one() -> None:
    now_ms, ran = 10_000, [("9999-0", 30), ("9999-1", 30), ("9000-0", 1_500_000), ("10001-0", 7)]
    one_by_one, together = HandlerStats(), Counters()
    for entry, took_us in ran:
        total_us = max(0, now_ms - entry_time_ms(entry)) * 1000
        count_completed(one_by_one, Outcome.PROCESSED, 1, took_us, total_us)
    entries, took = zip(*ran, strict=True)
    for field, count in count_processed("order.placed", entries, took, [now_ms] * 4).items():
        add_counter(together, field, str(count).encode())
    assert {"order.placed": one_by_one} == together
