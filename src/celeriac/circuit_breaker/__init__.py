"""The circuit breaker of a handler: whether its events are fetched, or wait in the event log."""

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
