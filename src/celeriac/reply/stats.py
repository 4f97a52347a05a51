"""Statistics of requests, by the type of the request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from celeriac.delivery.counters import FIRST, LAST, Histogram


class RequestOutcome(StrEnum):
    """How a request ended. It failed if it was not emitted, was cancelled, or its process died."""

    REPLIED = "replied"
    TIMED_OUT = "timed_out"
    FAILED = "failed"


@dataclass(slots=True)
class RequestStats:
    """Requests of one type. `pending` wait now; `late` counts replies that came after the end.

    `took` are the times from the emit to the last reply of requests that were replied to.
    """

    pending: int = 0
    outcomes: dict[RequestOutcome, int] = field(default_factory=dict)
    late: int = 0
    took: Histogram = field(default_factory=Histogram)

    def count(self, outcome: RequestOutcome) -> int:
        return self.outcomes.get(outcome, 0)

    def add(self, other: RequestStats) -> None:
        self.pending += other.pending
        self.late += other.late
        for outcome, number in other.outcomes.items():
            self.outcomes[outcome] = self.count(outcome) + number
        self.took.add(other.took)


def add_request_count(stats: dict[str, RequestStats], name: str, value: bytes) -> None:
    """Add one field that the scripts of requests write. Raises ValueError for other fields."""
    type, what, *rest = name.split(" ")
    number, of_type = int(value), stats.get(type) or RequestStats()
    if what in ("pending", "late") and not rest:
        setattr(of_type, what, number)
    elif what == "took" and rest == ["us"]:
        of_type.took.sum_us = number
    elif what == "took" and len(rest) == 1:
        of_type.took.buckets[max(FIRST, min(int(rest[0]), LAST))] = number
    elif what != "begun" or rest:
        of_type.outcomes[RequestOutcome(what)] = number
    stats[type] = of_type


def by_type(stats: Mapping[str, RequestStats]) -> list[tuple[str, RequestStats]]:
    """Return type and statistics, the types with most waiting requests first."""
    return sorted(stats.items(), key=lambda item: (-item[1].pending, item[0]))
