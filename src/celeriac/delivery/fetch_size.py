"""Compute how many entries a consumer group fetches at once. Pure."""

from __future__ import annotations

import math

FETCH_TIME_US = 10_000
# Entries of a fetch that may exceed FETCH_TIME_US. If a worker dies, each entry of a chunk loses a
# run.
FEW = 100
# Seconds in which one task fetches further chunks. Other handlers of the worker wait this long for
# its process, and a revoked task runs this long.
DRAIN = 0.1
MAX_FETCH_BYTES = 1_000_000
# Limit until the size of the events is known; and the smallest share of wanted entries.
MAX_SIZE_UNKNOWN, LEAST_SHARE = 16, 0.001
SMOOTHING = 0.25
# Entries in the first chunk of a handler whose run time is unknown. If they take long, the process
# requeues the rest: see executor/chunk_executor.py.
UNMEASURED = 32


class FetchSize:
    """The measurements of one process for a group: the size of its entries, and how many are
    wanted.

    A fetch is about FETCH_TIME_US of work, so that a process reports results and fetches the next
    entries in one round trip.
    """

    __slots__ = ("max_events", "mean_bytes", "wanted_share")

    def __init__(self, max_events: int) -> None:
        self.max_events = max_events
        self.wanted_share = 1.0
        self.mean_bytes = 0.0

    def note(self, entries: int, wanted: int, bytes: int) -> None:
        """Record that the handler wanted `wanted` of the fetched entries."""
        if entries == 0:
            return
        mean = bytes / entries
        # Larger entries count at once, because fetched entries use memory.
        self.mean_bytes = max(mean, self.mean_bytes + SMOOTHING * (mean - self.mean_bytes))
        share = wanted / entries
        # A larger share of wanted entries also counts at once: the next entries may be wanted too.
        self.wanted_share = max(
            share, LEAST_SHARE, self.wanted_share + SMOOTHING * (share - self.wanted_share)
        )

    def count(
        self, mean_us: int, batch: int | None = None, *, longest_us: int = 0, few: int = FEW
    ) -> int:
        """Return how many entries to fetch for a handler with this run time, 0 if unknown.

        The result is one event for an unmeasured handler, and full batches for a batch handler. Up
        to `few` events may be `longest_us` of work.
        """
        least = batch or 1
        events = least
        if mean_us > 0:
            more = min(longest_us // mean_us, few, FEW)
            events = max(1, FETCH_TIME_US // mean_us, more)
        if batch is not None:
            events = max(1, events // batch) * batch
        bound = MAX_FETCH_BYTES / self.mean_bytes if self.mean_bytes else MAX_SIZE_UNKNOWN
        limit = max(1, min(self.max_events, int(bound)))
        return max(min(math.ceil(events / self.wanted_share), limit), min(least, limit))
