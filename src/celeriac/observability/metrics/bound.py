"""Label values of which there must not be too many: each is a series more in every scrape."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

from celeriac.delivery.counters import OTHER

T = TypeVar("T", bound=Hashable)

MOST_TYPES = 100
MOST_TIMED = 100  # a handler with a type: three histograms, 45 lines of each scrape


class Known(Generic[T]):
    """The values that are told each, for as long as the process lives.

    The first ones to be learned are kept, so that no series changes into another while it grows.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[T] = set()

    def learn(self, values: Iterable[T]) -> None:
        """In the order of what is worth most."""
        for value in values:
            if len(self._known) >= self._most:
                return
            self._known.add(value)

    def __contains__(self, value: T) -> bool:
        return value in self._known


class Bounds:
    """What one collector tells each, and what as `other`."""

    def __init__(self) -> None:
        self.types: Known[str] = Known(MOST_TYPES)
        self.timed: Known[tuple[str, str, str]] = Known(MOST_TIMED)

    def label(self, type: str) -> str:
        return type if type in self.types else OTHER
