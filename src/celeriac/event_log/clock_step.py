"""Backward steps of the server's clock: their record, and their detection in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

TOLERANCE_MS = 1000  # as in lua/_clock.lua


@dataclass(frozen=True, slots=True)
class ClockStep:
    """A step of the server's clock back by `ms`, observed at `at_ms` by the new clock."""

    ms: int
    at_ms: int


class ClockSteps:
    """The last observed time of each handler, and its last backward step."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}
        self.steps: dict[str, ClockStep] = {}

    def observe(self, handler: str, now_ms: int) -> int:
        """Return how far, in ms, the clock stepped back since the last call; 0 if it did not."""
        step = self._seen.get(handler, 0) - now_ms
        if abs(step) >= TOLERANCE_MS:
            self._seen[handler] = now_ms
        if step < TOLERANCE_MS:
            return 0
        self.steps[handler] = ClockStep(step, now_ms)
        return step


def latest_step(stored: Mapping[bytes, bytes]) -> ClockStep | None:
    """Return the latest step in the hash that _clock.lua writes; None without a step."""
    steps = []
    for value in stored.values():
        match value.split(b" "):
            case [_, ms, at_ms] if ms.isdigit() and at_ms.isdigit() and int(ms):
                steps.append(ClockStep(int(ms), int(at_ms)))
    return max(steps, key=lambda step: step.at_ms, default=None)
