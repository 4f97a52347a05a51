"""The number of instances in one status, over one process or all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from celeriac.process.decision import Status
from celeriac.process.query import MAX_COUNTED, Count


@dataclass(frozen=True, slots=True)
class Total:
    """The instances that were counted. Its text is `100,000+` if there may be more."""

    number: int
    is_complete: bool

    def __str__(self) -> str:
        return f"{self.number:,}{'' if self.is_complete else '+'}"


def total(counts: Iterable[Count], status: Status, handler: str = "") -> Total:
    """Return the instances of the status, of the process or of all."""
    numbers = [c.number for c in counts if c.status is status and handler in ("", c.handler)]
    return Total(sum(numbers), all(number < MAX_COUNTED for number in numbers))
