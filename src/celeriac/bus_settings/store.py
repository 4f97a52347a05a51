"""Where the settings of a bus are kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class SettingsStore(Protocol):
    """A small map of texts. Every method is idempotent and blocks for one round trip."""

    # Seconds after which a process reads the record again before it uses it.
    fresh_for: float

    def read(self) -> Mapping[str, str]:
        """Return the whole record, empty where no worker has written it."""
        ...

    def add(self, values: Mapping[str, str]) -> None:
        """Write the values of names that have none. Of two workers the first one wins."""
        ...

    def write(self, values: Mapping[str, str]) -> None:
        """Write the values, also of names that have one."""
        ...

    def now_ms(self) -> int:
        """Return the store's clock in ms since the epoch."""
        ...
