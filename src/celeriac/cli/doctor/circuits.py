"""Check whether a handler is paused."""

from __future__ import annotations

from collections.abc import Iterator

from celeriac.circuit_breaker import CircuitState
from celeriac.cli.circuit import circuit_text
from celeriac.cli.doctor.finding import BusSnapshot, Finding, warn


def check_circuits(snapshot: BusSnapshot) -> Iterator[Finding]:
    """Report every circuit that is not closed."""
    for circuit in snapshot.circuits.values():
        text = f"{circuit.handler} {circuit_text(circuit, snapshot.now_ms)}"
        resume = f"celeriac handlers resume {circuit.handler}"
        if circuit.state is not CircuitState.PAUSED:
            resume = f"fix the cause; it resumes by itself. To resume it now: {resume}"
        yield warn("circuit", text, resume)
