"""Valid options of a breaker."""

from __future__ import annotations

from typing import Any

import pytest

from celeriac import Breaker
from celeriac.circuit_breaker import CIRCUIT_MOVES, CircuitState
from celeriac.errors import SubscriptionError


@pytest.mark.parametrize(
    "given",
    [
        {"failures": 0},
        {"failures": 1.5},
        {"window": 0},
        {"failures": True},
        {"failures": 10**20},
        {"window": float("inf")},
        {"window": float("nan")},
        {"window": 1e17},
        {"window": "60"},
        {"recovery_timeout": -1},
        {"recovery_timeout": 1e308},
        {"recovery_timeout": None},
        {"failure_rate": 1.1},
        {"failure_rate": -0.1},
        {"failure_rate": "1"},
    ],
)
def test_a_mistaken_breaker_is_refused_with_its_name(given: dict[str, Any]) -> None:
    with pytest.raises(SubscriptionError, match=next(iter(given))):
        Breaker(**given)


def test_every_state_answers_every_call() -> None:
    calls = {call for _, call in CIRCUIT_MOVES}
    assert {(s, c) for s in CircuitState for c in calls} == set(CIRCUIT_MOVES)
