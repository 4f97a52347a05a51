"""The circuit breaker, on Redis and in memory: every move, and who gets the trial."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from typing import Any

import pytest

from celeriac.circuit_breaker import CIRCUIT_MOVES, Breaker, Circuits, CircuitState
from celeriac.circuit_breaker.circuit import BUCKETS
from celeriac.settings import Settings
from celeriac.store.memory.circuits import MemoryCircuits
from celeriac.store.memory.clock import MemoryClock
from celeriac.store.redis.circuits import RedisCircuits

CLOSED, OPEN = CircuitState.CLOSED, CircuitState.OPEN
HALF_OPEN, PAUSED = CircuitState.HALF_OPEN, CircuitState.PAUSED
WINDOW = 10.0
BREAKER = Breaker(failures=3, window=WINDOW, recovery_timeout=50.0)
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
    circuits = RedisCircuits(Settings.load({}, redis_url=url, namespace=namespace))
    return circuits, lambda seconds: put_back(circuits, seconds)


def put_back(circuits: RedisCircuits, seconds: float) -> None:
    """Move what Redis has stored into the past: a test that sleeps instead fails if its process
    stops for as long as a pause that must not be over."""
    client: Any = circuits.client
    for handler, stored in client.hgetall(circuits.states).items():
        circuit = json.loads(stored)
        for name in ("since", "until", "trial_until"):
            if circuit.get(name):
                circuit[name] -= int(seconds * 1000)
        client.hset(circuits.states, handler, json.dumps(circuit))
    counts = circuits.keys.calls(H)
    parts = int(seconds * BUCKETS / WINDOW)
    for field, count in client.hgetall(counts).items():
        client.hdel(counts, field)
        client.hset(counts, b"%c%d" % (field[0], int(field[1:]) - parts), count)
    time.sleep(0.002)  # nothing after it has the same millisecond


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
    assert circuit.until_ms - circuit.since_ms == 50_000
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
    circuits.record(H, BREAKER, 2, 2)
    passes(WINDOW + 1)
    assert circuits.record(H, BREAKER, 2, 2).state is CLOSED


def test_one_worker_alone_gets_the_trial(pair: Pair) -> None:
    circuits, passes = pair
    opened(circuits)
    passes(60)
    assert circuits.probe(H, "w1", LEASE_MS).limit == 1
    assert circuits.probe(H, "w2", LEASE_MS).limit == 0
    probe = circuits.probe(H, "w1", LEASE_MS)
    assert (probe.limit, probe.circuit.state, probe.circuit.trial) == (1, HALF_OPEN, "w1")


def test_the_trial_of_a_silent_worker_passes_to_another(pair: Pair) -> None:
    circuits, passes = pair
    opened(circuits)
    passes(60)
    assert circuits.probe(H, "w1", 50_000).limit == 1
    assert circuits.probe(H, "w2", 50_000).limit == 0
    passes(60)
    assert circuits.probe(H, "w2", 50_000).limit == 1
    assert circuits.probe(H, "w1", 50_000).limit == 0


def test_a_trial_that_succeeds_closes_it_and_forgets_the_failures(pair: Pair) -> None:
    circuits, passes = pair
    opened(circuits)
    passes(60)
    circuits.probe(H, "w1", LEASE_MS)
    assert circuits.record(H, BREAKER, 1, 0).state is CLOSED
    assert circuits.all() == {}
    assert circuits.record(H, BREAKER, 2, 2).state is CLOSED


def test_a_trial_that_fails_opens_it_again(pair: Pair) -> None:
    circuits, passes = pair
    opened(circuits)
    passes(60)
    circuits.probe(H, "w1", LEASE_MS)
    assert circuits.record(H, BREAKER, 1, 1, "still down").state is OPEN
    assert circuits.probe(H, "w1", LEASE_MS).limit == 0
    passes(60)
    assert circuits.probe(H, "w2", LEASE_MS).limit == 1


def test_a_trial_that_came_to_nothing_is_followed_by_another(pair: Pair) -> None:
    """The one event was rejected, or processed by another worker: no sign of its health."""
    circuits, passes = pair
    opened(circuits)
    passes(60)
    before = circuits.probe(H, "w1", LEASE_MS).circuit
    passes(5)
    circuit = circuits.record(H, BREAKER, 0, 0)
    assert (circuit.state, circuit.trial) == (HALF_OPEN, "")
    assert circuit.since_ms != before.since_ms
    assert circuits.probe(H, "w2", LEASE_MS).limit == 1


def test_no_two_trials_have_the_same_time(pair: Pair) -> None:
    """Also where the first came to nothing within the millisecond: a dispatcher that took the
    second for the first would wait for an answer for ever."""
    circuits, passes = pair
    opened(circuits)
    passes(60)
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
    passes(50)
    assert circuits.probe(H, "w1", LEASE_MS).limit == 0
    assert circuits.record(H, BREAKER, 9, 0).state is PAUSED
    assert circuits.resume(H)
    assert not circuits.resume(H)
    assert circuits.probe(H, "w1", LEASE_MS).limit is None


def test_a_pause_for_a_time_ends_by_itself(pair: Pair) -> None:
    circuits, passes = pair
    circuits.pause(H, for_ms=50_000)
    assert circuits.probe(H, "w1", LEASE_MS).limit == 0
    passes(60)
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
        "probe": lambda: circuits.probe(H, chance.choice(["w1", "w2"]), 20_000),
        "pause": lambda: circuits.pause(H, for_ms=chance.choice([None, 20_000])),
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
            passes(30)
    assert {(OPEN, HALF_OPEN), (CLOSED, OPEN), (OPEN, OPEN)} <= met
