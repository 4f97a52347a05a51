"""Types of events as label values, of which there must not be too many."""

from __future__ import annotations

from collections.abc import Iterable

from celeriac.ledger.tally import OTHER

MOST_TYPES = 100


class KnownTypes:
    """The types that are told each, for as long as the process lives; all others are `other`.

    The first ones to be seen are kept, so that no series changes into another while it grows.
    """

    def __init__(self, most: int = MOST_TYPES) -> None:
        self._most = most
        self._known: set[str] = set()

    def learn(self, types: Iterable[str]) -> None:
        """In the order of what is worth most."""
        for type in types:
            if len(self._known) >= self._most:
                return
            self._known.add(type)

    def label(self, type: str) -> str:
        return type if type in self._known else OTHER
