"""Circuits as they are stored, and the arguments of their scripts."""

from __future__ import annotations

from typing import Any

import pytest

from celeriac.circuit_breaker.circuit import BUCKETS, Breaker, Circuit, CircuitState
from celeriac.invalid_record import MAX_TIME_MS
from celeriac.settings import Settings
from celeriac.store.redis.circuits import RedisCircuits

H = "billing.charge"
LATER = MAX_TIME_MS + 1


@pytest.fixture
def circuits(settings: Settings) -> RedisCircuits:
    return RedisCircuits(settings)


@pytest.mark.parametrize(
    ("stored", "circuit"),
    [
        (b'{"state": "open", "since": 5, "until": 0}', (CircuitState.OPEN, 5, 0, "", "")),
        (
            b'{"state": "half-open", "since": "5", "reason": "r", "trial": "w1"}',
            (CircuitState.HALF_OPEN, 5, None, "r", "w1"),
        ),
        (
            b'{"state": "paused", "since": 0, "until": %d}' % MAX_TIME_MS,
            (CircuitState.PAUSED, 0, MAX_TIME_MS, "", ""),
        ),
        (b'{"state": "open", "since": 5}', None),
        (b'{"state": "paused", "since": -1}', None),
        (b'{"state": "paused", "since": %d}' % LATER, None),
        (b'{"state": "paused", "since": 5, "until": %d}' % LATER, None),
        (b'{"state": "other", "since": 5}', None),
        (b"no JSON", None),
    ],
)
def test_a_record_that_cannot_be_used_is_a_closed_circuit_and_reported(
    circuits: RedisCircuits, stored: bytes, circuit: Any
) -> None:
    circuits.client.hset(circuits.states, H, stored)
    of_all = circuits.all()
    read = circuits.get(H)
    if circuit is None:
        assert (Circuit(handler=H), {}) == (read, of_all)
        assert [H] == [record.field for record in circuits.invalid]
    else:
        assert {H: read} == of_all
        parts = (read.state, read.since_ms, read.until_ms, read.reason, read.trial)
        assert (H, circuit) == (read.handler, parts)


def test_scripts_get_times_in_milliseconds(
    circuits: RedisCircuits, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(circuits, "_call", lambda _, *args: calls.append(args))
    circuits.record(
        H, Breaker(failures=7, window=2.5, recovery_timeout=1.5, failure_rate=0.25), 3, 2, "down"
    )
    circuits.pause(H, for_ms=0, reason="deploy")
    circuits.pause(H)
    assert [
        (H, 3, 2, 7, 2500, 0.25, 1500, "down", BUCKETS),
        (H, "pause", 0, "deploy"),
        (H, "pause", "", ""),
    ] == calls


def test_only_a_paused_circuit_is_resumed(circuits: RedisCircuits) -> None:
    assert circuits.resume(H) is False
    assert CircuitState.PAUSED is circuits.pause(H).state
    assert circuits.resume(H) is True
