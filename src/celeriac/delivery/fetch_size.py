"""How many entries a consumer group fetches at once. Pure."""

from __future__ import annotations

import math

FETCH_TIME_US = 10_000
# Entries of a fetch that may be more work. When a worker dies, each entry of a chunk loses a run.
FEW = 100
# Seconds in which one task fetches further chunks: how long other handlers of the worker wait for
# its process, and how long a revoked task goes on.
DRAIN = 0.1
MAX_FETCH_BYTES = 1_000_000
# Until the size of the events is known, and beyond any one event's share of the group.
SIZE_UNKNOWN_MOST, LEAST_SHARE = 16, 0.001
SMOOTHING = 0.25
# Entries in the first chunk of a handler whose run time is unknown. If they take long, the process
# requeues the rest: see executor/chunk_executor.py.
UNMEASURED = 32


class FetchSize:
    """What one process saw of a group: how large its entries are, and how many of them are wanted.

    A fetch is about FETCH_TIME_US of work, so that a process reports what it did, and fetches the
    next entries, in one round trip.
    """

    __slots__ = ("mean_bytes", "most", "wanted_share")

    def __init__(self, most: int) -> None:
        self.most = most
        self.wanted_share = 1.0
        self.mean_bytes = 0.0

    def note(self, entries: int, wanted: int, bytes: int) -> None:
        """Of so many entries that were fetched the handler wanted so many."""
        if entries == 0:
            return
        mean = bytes / entries
        # Larger ones count at once: what is fetched lies in memory.
        self.mean_bytes = max(mean, self.mean_bytes + SMOOTHING * (mean - self.mean_bytes))
        share = wanted / entries
        # So do those that are wanted: the next may be too.
        self.wanted_share = max(
            share, LEAST_SHARE, self.wanted_share + SMOOTHING * (share - self.wanted_share)
        )

    def count(
        self, mean_us: int, batch: int | None = None, *, longest_us: int = 0, few: int = FEW
    ) -> int:
        """Return how many entries to fetch for a handler with this run time, 0 if unknown.

        One event for a handler that was not measured yet, whole batches for one that takes batches.
        Up to a `few` events they may be `longest_us` of work.
        """
        least = batch or 1
        events = least
        if mean_us > 0:
            more = min(longest_us // mean_us, few, FEW)
            events = max(1, FETCH_TIME_US // mean_us, more)
        if batch is not None:
            events = max(1, events // batch) * batch
        bound = MAX_FETCH_BYTES / self.mean_bytes if self.mean_bytes else SIZE_UNKNOWN_MOST
        most = max(1, min(self.most, int(bound)))
        return max(min(math.ceil(events / self.wanted_share), most), min(least, most))
