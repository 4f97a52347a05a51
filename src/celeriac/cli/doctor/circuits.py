"""Is a handler paused?"""

from __future__ import annotations

from collections.abc import Iterator

from celeriac.circuit_breaker import CircuitState
from celeriac.cli.circuit import circuit_text
from celeriac.cli.doctor.finding import BusSnapshot, Finding, warn


def check_circuits(snapshot: BusSnapshot) -> Iterator[Finding]:
    """Every circuit that is not closed."""
    for circuit in snapshot.circuits.values():
        text = f"{circuit.handler} {circuit_text(circuit, snapshot.now_ms)}"
        resume = f"celeriac handlers resume {circuit.handler}"
        if circuit.state is not CircuitState.PAUSED:
            resume = f"mend its cause; it goes on by itself, or: {resume}"
        yield warn("circuit", text, resume)
