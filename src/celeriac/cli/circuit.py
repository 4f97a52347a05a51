"""Describe a circuit in words."""

from __future__ import annotations

from celeriac.circuit_breaker import Circuit, CircuitState
from celeriac.cli.show import when

_WORDS = {
    CircuitState.CLOSED: "is not paused",
    CircuitState.OPEN: "is paused by its circuit breaker (open)",
    CircuitState.HALF_OPEN: "is running one trial event (half-open)",
    CircuitState.PAUSED: "is paused manually",
}


def circuit_text(circuit: Circuit, now_ms: int) -> str:
    """Return, for example, `is paused manually since 10:00:00: maintenance`."""
    text = _WORDS[circuit.state]
    if circuit.since_ms is not None:
        text += f" since {when(circuit.since_ms)}"
    if circuit.until_ms is not None:
        text += f", until {when(circuit.until_ms, now_ms=now_ms)}"
    elif circuit.state is CircuitState.PAUSED:
        text += f", until `celeriac handlers resume {circuit.handler}`"
    return f"{text}: {circuit.reason}" if circuit.reason else text
