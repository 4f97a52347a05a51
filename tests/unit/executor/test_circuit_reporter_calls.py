"""When calls are reported to a circuit breaker, at simulated times."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from celeriac import Skip
from celeriac.circuit_breaker import Circuit, CircuitState
from celeriac.executor import circuit_reporter
from celeriac.executor.circuit_reporter import CircuitReporter

INTERVAL = 0.25
OPEN = CircuitState.OPEN


def circuit(state: CircuitState = CircuitState.CLOSED) -> Circuit:
    return Circuit(handler="billing.h", state=state)


class Calls:
    """A reporter, and what it reported: calls, failures, and the reason."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.reported: list[tuple[int, int, str]] = []
        self.then = circuit()
        clock = SimpleNamespace(monotonic=lambda: self.now)
        monkeypatch.setattr(circuit_reporter, "time", clock)
        monkeypatch.setattr(circuit_reporter, "REPORT_INTERVAL", INTERVAL)

    def reporter(self, before: CircuitState = CircuitState.CLOSED) -> CircuitReporter:
        return CircuitReporter(circuit(before), self._report)

    def _report(self, calls: int, failures: int, reason: str) -> Circuit:
        self.reported.append((calls, failures, reason))
        return self.then


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    return Calls(monkeypatch)


def test_successes_are_reported_at_intervals(calls: Calls) -> None:
    reporter = calls.reporter()
    for at, reported in ((0.125, []), (0.25, [(2, 0, "")]), (0.375, [(2, 0, "")])):
        calls.now = at
        reporter.note(None)
        assert reporter.allows_next()
        assert calls.reported == reported
    calls.now = 0.5
    reporter.note(None)
    assert reporter.allows_next()
    assert calls.reported == [(2, 0, ""), (2, 0, "")]


def test_a_failure_is_reported_at_once_and_may_open_the_circuit(calls: Calls) -> None:
    calls.then = circuit(OPEN)
    reporter = calls.reporter()
    reporter.note(None)
    reporter.note(ValueError())
    reporter.reason = "ValueError"
    assert not reporter.allows_next()
    assert calls.reported == [(2, 1, "ValueError")]
    assert reporter.circuit.state is OPEN
    reporter.flush()
    assert len(calls.reported) == 1


def test_what_the_handler_decides_is_no_call(calls: Calls) -> None:
    reporter = calls.reporter()
    reporter.note(Skip())
    calls.now = 60.0
    assert reporter.allows_next()
    reporter.flush()
    assert calls.reported == []


@pytest.mark.parametrize(("state", "reported"), [
    (CircuitState.CLOSED, []), (CircuitState.HALF_OPEN, [(0, 0, "")]),
])  # fmt: skip
def test_a_trial_without_a_result_is_reported_once(
    calls: Calls, state: CircuitState, reported: list[tuple[int, int, str]]
) -> None:
    reporter = calls.reporter(state)
    reporter.flush()
    reporter.flush()
    assert calls.reported == reported


def test_without_calls_only_a_trial_is_reported_in_time(calls: Calls) -> None:
    reporter = calls.reporter(CircuitState.HALF_OPEN)
    reporter.note(None)
    assert reporter.allows_next()
    assert calls.reported == []
    reporter.flush()
    assert calls.reported == [(1, 0, "")]
