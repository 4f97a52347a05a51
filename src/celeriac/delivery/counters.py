"""Counters of a handler for events of one type: outcomes and durations.

Durations are counted in buckets of powers of two: bucket k has those from 2**(k - 1) ms to below
2**k ms. So a quantile is known to a factor of two, and more precisely by interpolation.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from celeriac.delivery.state import Outcome

FIRST, LAST = -4, 23  # 62.5 µs; 2.3 hours and longer
UNCOUNTED = frozenset({Outcome.IGNORED, Outcome.REQUEUED, Outcome.COALESCED})
OTHER = "other"  # counts the types above the limit of counted types


_UPPER_US = [2.0**bucket * 1000 for bucket in range(FIRST, LAST)]


def bucket_of(us: int) -> int:
    """Return the bucket of a duration."""
    return FIRST + bisect_right(_UPPER_US, us)


def upper_bound_s(bucket: int) -> float:
    """Return the exclusive upper bound of a bucket in seconds; the last bucket has none."""
    return math.inf if bucket >= LAST else 2.0**bucket / 1000


@dataclass(slots=True)
class Histogram:
    """The number of durations in each bucket, and their sum."""

    buckets: dict[int, int] = field(default_factory=dict)
    sum_us: int = 0

    @property
    def count(self) -> int:
        return sum(self.buckets.values())

    @property
    def mean_s(self) -> float | None:
        return self.sum_us / self.count / 1e6 if self.count else None

    def observe(self, us: int) -> None:
        bucket = bucket_of(us)
        self.buckets[bucket] = self.buckets.get(bucket, 0) + 1
        self.sum_us += us

    def add(self, other: Histogram) -> None:
        for bucket, count in other.buckets.items():
            self.buckets[bucket] = self.buckets.get(bucket, 0) + count
        self.sum_us += other.sum_us

    def quantile(self, q: float) -> float | None:
        """Return the q-quantile in seconds, interpolated in its bucket; None without durations."""
        rank, before = q * self.count, 0
        for bucket in sorted(self.buckets):
            inside = self.buckets[bucket]
            if inside and before + inside >= rank:
                low = 0.0 if bucket == FIRST else 2.0 ** (bucket - 1) / 1000
                high = 2.0**bucket / 1000
                return low + (high - low) * max(0.0, rank - before) / inside
            before += inside
        return None


@dataclass(slots=True)
class HandlerStats:
    """Statistics of one handler and one event type, in total or for one minute.

    `retried` counts failed attempts that are retried, `dead` dead-lettered ones. `wait` is the time
    from the entry into the log until the first attempt, `run` that of each attempt, `total` the
    time until the event was processed.
    """

    processed: int = 0
    retried: int = 0
    dead: int = 0
    skipped: int = 0
    run: Histogram = field(default_factory=Histogram)
    wait: Histogram = field(default_factory=Histogram)
    total: Histogram = field(default_factory=Histogram)

    @property
    def attempts(self) -> int:
        return self.processed + self.retried + self.dead

    def add(self, other: HandlerStats) -> None:
        self.processed += other.processed
        self.retried += other.retried
        self.dead += other.dead
        self.skipped += other.skipped
        self.run.add(other.run)
        self.wait.add(other.wait)
        self.total.add(other.total)


Counters = dict[str, HandlerStats]  # by event type

_DURATIONS = frozenset({"run", "wait", "total"})
_OUTCOMES = {"processed": "processed", "retry": "retried", "dead": "dead", "skipped": "skipped"}


def count_completed(
    stats: HandlerStats, outcome: Outcome, attempt: int, took_us: int, total_us: int
) -> None:
    """Count one completed delivery, of UNCOUNTED none, as `count_completed` in _counters.lua."""
    name = _OUTCOMES[outcome.value]
    setattr(stats, name, getattr(stats, name) + 1)
    if outcome is Outcome.SKIPPED or attempt == 0:
        return
    stats.run.observe(took_us)
    if attempt == 1:
        stats.wait.observe(max(0, total_us - took_us))
    if outcome is Outcome.PROCESSED:
        stats.total.observe(total_us)


def count_processed(
    type: str, entries: Sequence[str], took_us: Sequence[int], at_ms: Sequence[int]
) -> dict[str, int]:
    """Return the additions to the fields for entries processed in their first attempt, as
    `count_processed` in _counters.lua. `at_ms` is when each was reported."""
    run, wait, total = Counter[int](), Counter[int](), Counter[int]()
    run_us = wait_us = total_us = 0
    # One split for all entries: an entry id is `<ms>-<sequence>`.
    entered_ms = map(int, "-".join(entries).split("-")[::2])
    # Many entries of a chunk have both times in common.
    for (ms, took, at), count in Counter(zip(entered_ms, took_us, at_ms, strict=True)).items():
        latency = max(0, at - ms) * 1000
        waited = max(0, latency - took)
        run[bucket_of(took)] += count
        wait[bucket_of(waited)] += count
        total[bucket_of(latency)] += count
        run_us, wait_us, total_us = (
            run_us + took * count, wait_us + waited * count, total_us + latency * count,
        )  # fmt: skip
    fields = {f"{type} processed": len(entries)}
    for what, us, buckets in (
        ("run", run_us, run), ("wait", wait_us, wait), ("total", total_us, total),
    ):  # fmt: skip
        fields[f"{type} {what} us"] = us
        fields |= {f"{type} {what} {bucket}": count for bucket, count in buckets.items()}
    return fields


def add_counter(counters: Counters, field: str, value: bytes) -> None:
    """Add one field that `_counters.lua` writes. Raises ValueError for other fields."""
    type, what, *bucket = field.split(" ")
    stats, number = counters.get(type) or HandlerStats(), int(value)
    if not bucket and what in _OUTCOMES:
        setattr(stats, _OUTCOMES[what], number)
    elif bucket == ["us"] and what in _DURATIONS:
        getattr(stats, what).sum_us = number
    elif len(bucket) == 1 and what in _DURATIONS:
        getattr(stats, what).buckets[max(FIRST, min(int(bucket[0]), LAST))] = number
    else:
        raise ValueError("is not a counter")
    counters[type] = stats


def sum_counters(several: Iterable[Counters]) -> Counters:
    """Return the sums of the same types: of several minutes, domains or handlers."""
    total: Counters = {}
    for counters in several:
        for type, stats in counters.items():
            total.setdefault(type, HandlerStats()).add(stats)
    return total
