"""What a handler did with events of one type, counted: outcomes, and how long things took.

Durations are counted in buckets of powers of two: bucket k is of those below 2**k ms, and not below
2**(k - 1) ms. So a quantile is known to a factor of two, and better by interpolation.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from celeriac.delivery.state import Outcome

FIRST, LAST = -4, 23  # 62.5 µs; 2.3 hours and all that is longer
UNCOUNTED = frozenset({Outcome.IGNORED, Outcome.REQUEUED, Outcome.COALESCED})
OTHER = "other"  # stands for the types beyond those that are counted each


_UPPER_US = [2.0**bucket * 1000 for bucket in range(FIRST, LAST)]


def bucket_of(us: int) -> int:
    """The bucket that a duration is counted in."""
    return FIRST + bisect_right(_UPPER_US, us)


def upper_bound_s(bucket: int) -> float:
    """The durations of a bucket are below this, in seconds; the last one has no bound."""
    return math.inf if bucket >= LAST else 2.0**bucket / 1000


@dataclass(slots=True)
class Histogram:
    """How many durations fell into each bucket, and their sum."""

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
        """The q-quantile in seconds, interpolated within its bucket; None without durations."""
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
    """One handler and one event type, over all time or one minute.

    `retried` counts attempts that failed and are run again, `dead` those given up. `wait` is from
    the entry into the log until the first attempt began, `run` of each attempt, `total` until it
    was processed.
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


def tally_settled(
    tally: HandlerStats, outcome: Outcome, attempt: int, took_us: int, total_us: int
) -> None:
    """Counts one delivery that its holder settled, of UNCOUNTED none, as `_tally.lua` does."""
    name = _OUTCOMES[outcome.value]
    setattr(tally, name, getattr(tally, name) + 1)
    if outcome is Outcome.SKIPPED or attempt == 0:
        return
    tally.run.observe(took_us)
    if attempt == 1:
        tally.wait.observe(max(0, total_us - took_us))
    if outcome is Outcome.PROCESSED:
        tally.total.observe(total_us)


def tally_processed(
    type: str, entries: Sequence[str], took_us: Sequence[int], at_ms: Sequence[int]
) -> dict[str, int]:
    """Return the fields that are added for entries processed in their first attempt, as
    `tally_processed` in _tally.lua counts them. `at_ms` is when each was reported."""
    run, wait, total = Counter[int](), Counter[int](), Counter[int]()
    run_us = wait_us = total_us = 0
    # All at once: an entry id is `<ms>-<sequence>`.
    entered_ms = map(int, "-".join(entries).split("-")[::2])
    # Many entries of a chunk have both in common.
    for (ms, took, at), count in Counter(zip(entered_ms, took_us, at_ms, strict=True)).items():
        whole = max(0, at - ms) * 1000
        waited = max(0, whole - took)
        run[bucket_of(took)] += count
        wait[bucket_of(waited)] += count
        total[bucket_of(whole)] += count
        run_us, wait_us, total_us = (
            run_us + took * count, wait_us + waited * count, total_us + whole * count,
        )  # fmt: skip
    fields = {f"{type} processed": len(entries)}
    for what, us, buckets in (
        ("run", run_us, run), ("wait", wait_us, wait), ("total", total_us, total),
    ):  # fmt: skip
        fields[f"{type} {what} us"] = us
        fields |= {f"{type} {what} {bucket}": count for bucket, count in buckets.items()}
    return fields


def add_tally(counters: Counters, field: str, value: bytes) -> None:
    """Adds one field that `_tally.lua` writes. Raises ValueError for another."""
    type, what, *bucket = field.split(" ")
    tally, number = counters.get(type) or HandlerStats(), int(value)
    if not bucket and what in _OUTCOMES:
        setattr(tally, _OUTCOMES[what], number)
    elif bucket == ["us"] and what in _DURATIONS:
        getattr(tally, what).sum_us = number
    elif len(bucket) == 1 and what in _DURATIONS:
        getattr(tally, what).buckets[max(FIRST, min(int(bucket[0]), LAST))] = number
    else:
        raise ValueError("is no count")
    counters[type] = tally


def sum_tallies(several: Iterable[Counters]) -> Counters:
    """Tallies of the same types added up: of several minutes, domains or handlers."""
    total: Counters = {}
    for counters in several:
        for type, tally in counters.items():
            total.setdefault(type, HandlerStats()).add(tally)
    return total
