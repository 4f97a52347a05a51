"""What a chunk under way tells the circuit breaker of its handler."""

from __future__ import annotations

import time
from collections.abc import Callable

from celeriac.circuit_breaker import Circuit, CircuitState
from celeriac.errors import InvalidEvent, Reject, Retry, Skip

TELL_AFTER = 0.010  # seconds; a failure is told at once

# calls, failures, the last error → the circuit as it is then
Tell = Callable[[int, int, str], Circuit]


def counts_as_failure(error: BaseException) -> bool:
    """Whether the error speaks against the handler's health: not what an event's own content
    causes, nor what the handler asked for."""
    return not isinstance(error, (Reject, Retry, Skip, InvalidEvent))


class Breaking:
    """Counts the calls of one chunk; a call is one run of the function, of an event or a batch."""

    def __init__(self, before: Circuit, tell: Tell) -> None:
        self.circuit = before
        self._tell = tell
        self._told_at = time.monotonic()
        self._told = before.state is not CircuitState.HALF_OPEN
        self._calls = self._failures = 0
        self.reason = ""  # the last error as people may see it

    def note(self, error: BaseException | None) -> None:
        """A call has ended."""
        if error is None:
            self._calls += 1
        elif counts_as_failure(error):
            self._calls += 1
            self._failures += 1

    def goes_on(self) -> bool:
        """Tells what is to be told; False where the rest of the chunk must not run."""
        if self._failures or time.monotonic() - self._told_at >= TELL_AFTER:
            self.flush()
        return self.circuit.allows_runs

    def flush(self) -> None:
        """Tells the rest. A trial that came to nothing is told as well, so that another follows."""
        if not self._calls and self._told:
            return
        calls, failures, self._calls, self._failures = self._calls, self._failures, 0, 0
        self.circuit = self._tell(calls, failures, self.reason)
        self._told, self._told_at = True, time.monotonic()
