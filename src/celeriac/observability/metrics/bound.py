"""Limits of label values: each value is one more series in every scrape."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

from celeriac.delivery.counters import OTHER

T = TypeVar("T", bound=Hashable)

MAX_TYPES = 100
MAX_TIMED = 100  # handler and type pairs: three histograms each, 45 lines of every scrape


class KnownValues(Generic[T]):
    """The values with a series of their own, for the lifetime of the process.

    The first values are kept, so that a series never changes its meaning.
    """

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._known: set[T] = set()

    def learn(self, values: Iterable[T]) -> None:
        """Return the known values after adding `values`, which are sorted by importance."""
        for value in values:
            if len(self._known) >= self._maximum:
                return
            self._known.add(value)

    def __contains__(self, value: T) -> bool:
        return value in self._known


class Bounds:
    """The values that one collector reports separately; it reports the others as `other`."""

    def __init__(self) -> None:
        self.types: KnownValues[str] = KnownValues(MAX_TYPES)
        self.timed: KnownValues[tuple[str, str, str]] = KnownValues(MAX_TIMED)

    def label(self, type: str) -> str:
        return type if type in self.types else OTHER
