"""Circuits at simulated times: what opens them, and which event is on trial."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from celeriac.circuit_breaker import Breaker, CircuitState
from celeriac.circuit_breaker.circuit import BUCKETS
from celeriac.store.memory.circuits import MemoryCircuits
from celeriac.store.memory.clock import MemoryClock

H, START = "billing.charge", 1_000_000
BREAKER = Breaker(failures=3, window=10, recovery_timeout=30)
CLOSED, OPEN, HALF_OPEN, PAUSED = (
    CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN, CircuitState.PAUSED,
)  # fmt: skip


@pytest.fixture
def circuits() -> MemoryCircuits:
    return MemoryCircuits(MemoryClock(START))


def record(
    circuits: MemoryCircuits, reports: Sequence[tuple[int, int, int]], breaker: Breaker = BREAKER
) -> CircuitState:
    """Report calls and failures, each after so many ms."""
    for after_ms, calls, failures in reports:
        circuits.clock.advance(after_ms)  # type: ignore[attr-defined]
        assert circuits.record(H, breaker, calls, failures, "down") == circuits.get(H)
    return circuits.get(H).state


@pytest.mark.parametrize(
    ("reports", "state"),
    [
        ([(0, 3, 3)], OPEN),
        ([(0, 2, 2)], CLOSED),
        ([(0, 2, 2), (0, 1, 1)], OPEN),
        ([(0, 6, 3)], OPEN),  # half of the calls
        ([(0, 7, 3)], CLOSED),
        ([(0, 5, 2), (1000, 1, 1)], OPEN),
        ([(0, 2, 2), (9000, 1, 1)], OPEN),
        ([(0, 2, 2), (10_000, 1, 1)], CLOSED),
        ([(0, 9, 3), (0, 3, 0)], CLOSED),
        ([(0, 7, 3), (10_000, 3, 3)], OPEN),  # the calls before have left the window
    ],
)
def test_a_circuit_opens_after_too_many_failures_within_the_window(
    circuits: MemoryCircuits, reports: Sequence[tuple[int, int, int]], state: CircuitState
) -> None:
    assert 10_000 % BUCKETS == 0
    assert record(circuits, reports) is state


def test_a_report_without_a_failure_opens_nothing(circuits: MemoryCircuits) -> None:
    """Though the failures before exceed the limit, as after a change of it."""
    assert record(circuits, [(0, 2, 2)]) is CLOSED
    assert record(circuits, [(0, 0, 0)], Breaker(failures=1, window=10)) is CLOSED
    assert record(circuits, [(0, 1, 1)], Breaker(failures=1, window=10)) is OPEN


def test_an_open_circuit_pauses_for_the_recovery_timeout(circuits: MemoryCircuits) -> None:
    record(circuits, [(0, 3, 3)])
    circuit = circuits.get(H)
    assert (circuit.since_ms, circuit.until_ms, circuit.reason) == (START, START + 30_000, "down")
    assert circuits.all() == {H: circuit}
    assert record(circuits, [(100, 9, 9)]) is OPEN
    assert circuits.get(H).since_ms == START, "it is open already"
    circuits.clock.advance(29_899)  # type: ignore[attr-defined]
    assert circuits.probe(H, "w1", 1000).limit == 0
    circuits.clock.advance(1)  # type: ignore[attr-defined]
    assert circuits.probe(H, "w1", 1000).limit == 1


def on_trial(circuits: MemoryCircuits, lease_ms: int = 1000) -> int:
    """Open the circuit, and let worker w1 try an event; return when."""
    record(circuits, [(0, 3, 3)])
    circuits.clock.advance(30_000)  # type: ignore[attr-defined]
    probe = circuits.probe(H, "w1", lease_ms)
    assert (probe.limit, probe.circuit.state, probe.circuit.trial) == (1, HALF_OPEN, "w1")
    assert (probe.circuit.since_ms, probe.circuit.until_ms) == (circuits.clock.now_ms(), None)
    return circuits.clock.now_ms()


@pytest.mark.parametrize(
    ("after_ms", "worker", "limit", "trial"),
    [
        (0, "w2", 0, "w1"),
        (999, "w2", 0, "w1"),
        (1000, "w2", 1, "w2"),
        (500, "w1", 1, "w1"),
    ],
)
def test_one_worker_has_the_trial_until_its_lease_ends(
    circuits: MemoryCircuits, after_ms: int, worker: str, limit: int, trial: str
) -> None:
    since = on_trial(circuits)
    circuits.clock.advance(after_ms)  # type: ignore[attr-defined]
    probe = circuits.probe(H, worker, 1000)
    assert (probe.limit, circuits.get(H).trial) == (limit, trial)
    assert circuits.get(H).since_ms == (since if trial == "w1" else since + after_ms)


def test_the_worker_on_trial_renews_its_lease(circuits: MemoryCircuits) -> None:
    on_trial(circuits)
    circuits.clock.advance(900)  # type: ignore[attr-defined]
    circuits.probe(H, "w1", 1000)
    circuits.clock.advance(900)  # type: ignore[attr-defined]
    assert circuits.probe(H, "w2", 1000).limit == 0


@pytest.mark.parametrize(
    ("calls", "failures", "state"), [(1, 0, CLOSED), (0, 0, HALF_OPEN), (1, 1, OPEN), (9, 1, OPEN)]
)
def test_the_result_of_a_trial(
    circuits: MemoryCircuits, calls: int, failures: int, state: CircuitState
) -> None:
    since = on_trial(circuits)
    assert record(circuits, [(50, calls, failures)]) is state
    circuit = circuits.get(H)
    assert circuit.trial == ""
    if state is HALF_OPEN:
        assert circuit.since_ms == since + 50
        probe = circuits.probe(H, "w2", 1000)
        assert (probe.limit, probe.circuit.since_ms) == (1, since + 51), "later than before"
    assert circuits.all().keys() == (set() if state is CLOSED else {H})


def test_after_a_trial_failures_count_from_zero(circuits: MemoryCircuits) -> None:
    on_trial(circuits)
    record(circuits, [(0, 1, 0)])
    assert record(circuits, [(0, 2, 2)]) is CLOSED
    assert record(circuits, [(0, 1, 1)]) is OPEN


@pytest.mark.parametrize(
    ("for_ms", "after_ms", "limit", "state"),
    [
        (None, 10**9, 0, PAUSED),
        (500, 499, 0, PAUSED),
        (500, 500, None, CLOSED),
    ],
)
def test_a_pause_ends_by_itself_if_it_has_a_time(
    circuits: MemoryCircuits, for_ms: int | None, after_ms: int, limit: int | None,
    state: CircuitState,
) -> None:  # fmt: skip
    paused = circuits.pause(H, for_ms=for_ms, reason="deploy")
    until = None if for_ms is None else START + for_ms
    assert (paused.state, paused.since_ms, paused.until_ms) == (PAUSED, START, until)
    assert paused.reason == "deploy"
    circuits.clock.advance(after_ms)  # type: ignore[attr-defined]
    probe = circuits.probe(H, "w1", 1000)
    assert (probe.limit, probe.circuit.state, circuits.get(H).state) == (limit, state, state)


def test_resuming_forgets_the_failures_before(circuits: MemoryCircuits) -> None:
    record(circuits, [(0, 2, 2)])
    assert circuits.resume(H) is False, "it was closed"
    assert record(circuits, [(0, 2, 2)]) is CLOSED
    circuits.pause(H)
    assert circuits.resume(H) is True
    assert circuits.all() == {}
    assert circuits.probe(H, "w1", 1000).limit is None
