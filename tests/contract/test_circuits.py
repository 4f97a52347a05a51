"""The circuit breaker, on Redis and in memory: every move, and who gets the trial."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import pytest

from celeriac.circuit_breaker import CIRCUIT_MOVES, Breaker, Circuits, CircuitState
from celeriac.settings import Settings
from celeriac.store.memory.circuits import MemoryCircuits
from celeriac.store.memory.clock import MemoryClock
from celeriac.store.redis.circuits import RedisCircuits

CLOSED, OPEN = CircuitState.CLOSED, CircuitState.OPEN
HALF_OPEN, PAUSED = CircuitState.HALF_OPEN, CircuitState.PAUSED
BREAKER = Breaker(failures=3, window=10.0, recovery_timeout=0.05)
LEASE_MS = 60_000
H = "billing.charge"


@pytest.fixture(params=["memory", "redis"])
def pair(
    request: pytest.FixtureRequest, namespace: str
) -> tuple[Circuits, Callable[[float], None]]:
    """The circuits, and what lets seconds pass."""
    if request.param == "memory":
        clock = MemoryClock()
        return MemoryCircuits(clock), lambda seconds: clock.advance(int(seconds * 1000))
    url = request.getfixturevalue("redis_url")
    return RedisCircuits(Settings.load({}, redis_url=url, namespace=namespace)), time.sleep


Pair = tuple[Circuits, Callable[[float], None]]


def opened(circuits: Circuits, breaker: Breaker = BREAKER) -> None:
    circuits.record(H, breaker, 3, 3, "ConnectionError: down")
    assert circuits.get(H).state is OPEN


def test_an_unknown_handler_has_a_closed_circuit(pair: Pair) -> None:
    circuits, _ = pair
    assert circuits.get(H).state is CLOSED
    assert circuits.all() == {}
    assert circuits.probe(H, "w1", LEASE_MS).limit is None


def test_it_opens_at_the_number_of_failures_and_not_before(pair: Pair) -> None:
    circuits, _ = pair
    assert circuits.record(H, BREAKER, 2, 2).state is CLOSED
    circuit = circuits.record(H, BREAKER, 1, 1, "ConnectionError: down")
    assert circuit.state is OPEN
    assert circuit.reason == "ConnectionError: down"
    assert circuit.until_ms is not None and circuit.since_ms is not None
    assert circuit.until_ms - circuit.since_ms == 50
    assert circuits.all() == {H: circuit}
    assert circuits.probe(H, "w1", LEASE_MS).limit == 0


def test_failures_among_many_successes_do_not_open_it(pair: Pair) -> None:
    """`share` protects a busy handler with a few failed calls."""
    circuits, _ = pair
    circuits.record(H, BREAKER, 100, 0)
    assert circuits.record(H, BREAKER, 50, 50).state is CLOSED
    assert circuits.record(H, BREAKER, 50, 50).state is OPEN


def test_failures_older_than_the_window_do_not_count(pair: Pair) -> None:
    circuits, passes = pair
    brief = Breaker(failures=3, window=0.2, recovery_timeout=1.0)
    circuits.record(H, brief, 2, 2)
    passes(0.3)
    assert circuits.record(H, brief, 2, 2).state is CLOSED


def test_one_worker_alone_gets_the_trial(pair: Pair) -> None:
    circuits, passes = pair
    opened(circuits)
    passes(0.06)
    assert circuits.probe(H, "w1", LEASE_MS).limit == 1
    assert circuits.probe(H, "w2", LEASE_MS).limit == 0
    probe = circuits.probe(H, "w1", LEASE_MS)
    assert (probe.limit, probe.circuit.state, probe.circuit.trial) == (1, HALF_OPEN, "w1")


def test_the_trial_of_a_silent_worker_passes_to_another(pair: Pair) -> None:
    circuits, passes = pair
    opened(circuits)
    passes(0.06)
    assert circuits.probe(H, "w1", 50).limit == 1
    assert circuits.probe(H, "w2", 50).limit == 0
    passes(0.06)
    assert circuits.probe(H, "w2", 50).limit == 1
    assert circuits.probe(H, "w1", 50).limit == 0


def test_a_trial_that_succeeds_closes_it_and_forgets_the_failures(pair: Pair) -> None:
    circuits, passes = pair
    opened(circuits)
    passes(0.06)
    circuits.probe(H, "w1", LEASE_MS)
    assert circuits.record(H, BREAKER, 1, 0).state is CLOSED
    assert circuits.all() == {}
    assert circuits.record(H, BREAKER, 2, 2).state is CLOSED


def test_a_trial_that_fails_opens_it_again(pair: Pair) -> None:
    circuits, passes = pair
    opened(circuits)
    passes(0.06)
    circuits.probe(H, "w1", LEASE_MS)
    assert circuits.record(H, BREAKER, 1, 1, "still down").state is OPEN
    assert circuits.probe(H, "w1", LEASE_MS).limit == 0
    passes(0.06)
    assert circuits.probe(H, "w2", LEASE_MS).limit == 1


def test_a_trial_that_came_to_nothing_is_followed_by_another(pair: Pair) -> None:
    """The one event was rejected, or processed by another worker: no sign of its health."""
    circuits, passes = pair
    opened(circuits)
    passes(0.06)
    before = circuits.probe(H, "w1", LEASE_MS).circuit
    passes(0.005)
    circuit = circuits.record(H, BREAKER, 0, 0)
    assert (circuit.state, circuit.trial) == (HALF_OPEN, "")
    assert circuit.since_ms != before.since_ms
    assert circuits.probe(H, "w2", LEASE_MS).limit == 1


def test_no_two_trials_have_the_same_time(pair: Pair) -> None:
    """Also where the first came to nothing within the millisecond: a dispatcher that took the
    second for the first would wait for an answer for ever."""
    circuits, passes = pair
    opened(circuits)
    passes(0.06)
    since: list[int | None] = []
    for _ in range(20):
        since.append(circuits.probe(H, "w1", LEASE_MS).circuit.since_ms)
        circuits.record(H, BREAKER, 0, 0)
    assert sorted({*since}, key=lambda ms: ms or 0) == since


def test_a_report_about_an_open_one_changes_nothing(pair: Pair) -> None:
    """A call that began before and succeeds late does not close it."""
    circuits, _ = pair
    opened(circuits, Breaker(failures=3, recovery_timeout=60.0))
    before = circuits.get(H)
    assert circuits.record(H, BREAKER, 5, 0) == before
    assert circuits.record(H, BREAKER, 5, 5) == before


def test_a_manual_pause_lasts_until_it_is_resumed(pair: Pair) -> None:
    circuits, passes = pair
    circuit = circuits.pause(H, reason="maintenance")
    assert (circuit.state, circuit.until_ms, circuit.reason) == (PAUSED, None, "maintenance")
    passes(0.05)
    assert circuits.probe(H, "w1", LEASE_MS).limit == 0
    assert circuits.record(H, BREAKER, 9, 0).state is PAUSED
    assert circuits.resume(H)
    assert not circuits.resume(H)
    assert circuits.probe(H, "w1", LEASE_MS).limit is None


def test_a_pause_for_a_time_ends_by_itself(pair: Pair) -> None:
    circuits, passes = pair
    circuits.pause(H, for_ms=50)
    assert circuits.probe(H, "w1", LEASE_MS).limit == 0
    passes(0.06)
    assert circuits.probe(H, "w1", LEASE_MS).limit is None
    assert circuits.get(H).state is CLOSED


def test_an_open_one_is_resumed_manually(pair: Pair) -> None:
    circuits, _ = pair
    opened(circuits)
    assert circuits.resume(H)
    assert circuits.record(H, BREAKER, 2, 2).state is CLOSED


def test_handlers_have_circuits_of_their_own(pair: Pair) -> None:
    circuits, _ = pair
    opened(circuits)
    assert circuits.get("billing.other").state is CLOSED
    circuits.pause("a.b")
    assert list(circuits.all()) == ["a.b", H]


@pytest.mark.parametrize("seed", range(3))
def test_random_lives_take_only_the_moves_of_the_table(pair: Pair, seed: int) -> None:
    circuits, passes = pair
    chance = random.Random(seed)
    moves: dict[str, Callable[[], object]] = {
        "record": lambda: circuits.record(H, BREAKER, 2, chance.choice([0, 2, 2])),
        "probe": lambda: circuits.probe(H, chance.choice(["w1", "w2"]), 20),
        "pause": lambda: circuits.pause(H, for_ms=chance.choice([None, 20])),
        "resume": lambda: circuits.resume(H),
    }
    met = set()
    for _ in range(500):
        before = circuits.get(H).state
        call = chance.choices(list(moves), weights=[12, 12, 1, 4])[0]
        moves[call]()
        after = circuits.get(H).state
        assert after in CIRCUIT_MOVES[before, call]
        met.add((before, after))
        if chance.random() < 0.1:
            passes(0.03)
    assert {(OPEN, HALF_OPEN), (CLOSED, OPEN), (OPEN, OPEN)} <= met
