"""The circuit of a handler: whether its events are taken from the log, or wait there."""

from celeriac.circuit.circuit import CIRCUIT_MOVES, Breaker, Circuit, Circuits, CircuitState, Probe
from celeriac.circuit.memory import MemoryCircuits
from celeriac.circuit.redis import RedisCircuits

__all__ = [
    "CIRCUIT_MOVES",
    "Breaker",
    "Circuit",
    "CircuitState",
    "Circuits",
    "MemoryCircuits",
    "Probe",
    "RedisCircuits",
]
