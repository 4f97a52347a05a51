"""The settings of a bus in memory."""

from __future__ import annotations

import math
from collections.abc import Mapping

from celeriac.store.memory.clock import Clock


class MemorySettingsStore:
    """Implements SettingsStore. Only one process writes it, so values that were read stay fresh."""

    fresh_for = math.inf

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._values: dict[str, str] = {}

    def read(self) -> Mapping[str, str]:
        return dict(self._values)

    def add(self, values: Mapping[str, str]) -> None:
        self._values = {**values, **self._values}

    def write(self, values: Mapping[str, str]) -> None:
        self._values = {**self._values, **values}

    def now_ms(self) -> int:
        return self._clock.now_ms()
