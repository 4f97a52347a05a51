"""Report the calls of a running chunk to the circuit breaker of its handler."""

from __future__ import annotations

import time
from collections.abc import Callable

from celeriac.circuit_breaker import Circuit, CircuitState
from celeriac.errors import CircuitOpen, InvalidEvent, Reject, Retry, Skip

REPORT_INTERVAL = 0.010  # seconds; a failure is reported at once

# Called with calls, failures and the last error; returns the resulting circuit.
ReportCalls = Callable[[int, int, str], Circuit]


def counts_as_failure(error: BaseException) -> bool:
    """Return whether the error counts against the handler's health.

    Errors caused by an event's content, and retries or rejections that the handler requested, do
    not.
    """
    return not isinstance(error, (CircuitOpen, InvalidEvent, Reject, Retry, Skip))


class CircuitReporter:
    """Counts the calls of one chunk. A call is one run of the function, for an event or a batch."""

    def __init__(self, before: Circuit, report: ReportCalls) -> None:
        self.circuit = before
        self._report = report
        self._reported_at = time.monotonic()
        self._is_reported = before.state is not CircuitState.HALF_OPEN
        self._calls = self._failures = 0
        self.reason = ""  # the last error, without sensitive values

    def note(self, error: BaseException | None) -> None:
        """Record the end of a call."""
        if error is None:
            self._calls += 1
        elif counts_as_failure(error):
            self._calls += 1
            self._failures += 1

    def allows_next(self) -> bool:
        """Report calls that are due; return False if the rest of the chunk must not run."""
        if self._failures or time.monotonic() - self._reported_at >= REPORT_INTERVAL:
            self.flush()
        return self.circuit.allows_runs

    def flush(self) -> None:
        """Report the remaining calls. A trial without a result is also reported, so that another
        can follow."""
        if not self._calls and self._is_reported:
            return
        calls, failures, self._calls, self._failures = self._calls, self._failures, 0, 0
        self.circuit = self._report(calls, failures, self.reason)
        self._is_reported, self._reported_at = True, time.monotonic()
