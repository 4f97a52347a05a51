"""Steps back of the server's clock: what doctor names, and how they are noticed in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

TOLERANCE_MS = 1000  # as in ledger/lua/_clock.lua


@dataclass(frozen=True, slots=True)
class ClockStep:
    """The server's clock was set back by `ms`; that was seen at `at_ms` by the clock since then."""

    ms: int
    at_ms: int


class ClockSteps:
    """The last look of each handler, and the last step that it saw."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}
        self.steps: dict[str, ClockStep] = {}

    def note(self, who: str, now_ms: int) -> int:
        """Return by how many ms the clock stepped back since the last look; 0 if it did not."""
        step = self._seen.get(who, 0) - now_ms
        if abs(step) >= TOLERANCE_MS:
            self._seen[who] = now_ms
        if step < TOLERANCE_MS:
            return 0
        self.steps[who] = ClockStep(step, now_ms)
        return step


def latest_step(stored: Mapping[bytes, bytes]) -> ClockStep | None:
    """From the hash that _clock.lua writes; None where the clock never stepped back."""
    steps = []
    for value in stored.values():
        match value.split(b" "):
            case [_, ms, at_ms] if ms.isdigit() and at_ms.isdigit() and int(ms):
                steps.append(ClockStep(int(ms), int(at_ms)))
    return max(steps, key=lambda step: step.at_ms, default=None)
