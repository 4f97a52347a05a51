"""The circuit of a handler: whether its events are taken from the log, or wait there."""

from celeriac.circuit_breaker.circuit import (
    CIRCUIT_MOVES,
    Breaker,
    Circuit,
    Circuits,
    CircuitState,
    Probe,
)

__all__ = [
    "CIRCUIT_MOVES",
    "Breaker",
    "Circuit",
    "CircuitState",
    "Circuits",
    "Probe",
]
