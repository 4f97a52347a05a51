"""The store of a bus's settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class SettingsStore(Protocol):
    """A map of name → text. Every method is idempotent and blocks for one round trip."""

    # Seconds after which a process reads the record again before it uses it.
    fresh_for: float

    def read(self) -> Mapping[str, str]:
        """Return the record; empty if no worker has written it."""
        ...

    def add(self, values: Mapping[str, str]) -> None:
        """Write the values of missing names. The first of two concurrent writers wins."""
        ...

    def write(self, values: Mapping[str, str]) -> None:
        """Write the values, replacing existing ones."""
        ...

    def now_ms(self) -> int:
        """Return the store's clock in ms since the epoch."""
        ...
