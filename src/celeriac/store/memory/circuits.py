"""Circuits in memory, kept until the process ends."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from msgspec.structs import replace

from celeriac.circuit_breaker.circuit import (
    BUCKETS,
    CIRCUIT_MOVES,
    Breaker,
    Circuit,
    CircuitState,
    Probe,
)
from celeriac.store.memory.clock import Clock


class MemoryCircuits:
    """Implements Circuits. Thread-safe."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._lock = threading.RLock()
        self._circuits: dict[str, Circuit] = {}
        self._trials: dict[str, int] = {}
        self._counts: dict[str, dict[int, tuple[int, int]]] = {}

    def all(self) -> Mapping[str, Circuit]:
        with self._lock:
            return dict(sorted(self._circuits.items()))

    def get(self, handler: str) -> Circuit:
        with self._lock:
            return self._circuits.get(handler, Circuit(handler=handler))

    def record(
        self, handler: str, breaker: Breaker, calls: int, failures: int, reason: str = ""
    ) -> Circuit:
        with self._lock:
            now, circuit = self.clock.now_ms(), self.get(handler)
            if circuit.state is CircuitState.HALF_OPEN:
                if not failures and calls:
                    return self._move("record", Circuit(handler=handler))
                if not failures:
                    since = max(now, circuit.since_ms or 0)
                    return self._move("record", replace(circuit, trial="", since_ms=since))
            elif circuit.state is not CircuitState.CLOSED or not self._is_too_much(
                handler, breaker, calls, failures
            ):
                return circuit
            self._counts.pop(handler, None)
            opened = Circuit(
                handler=handler, state=CircuitState.OPEN, since_ms=now, reason=reason,
                until_ms=now + int(breaker.recovery_timeout * 1000),
            )  # fmt: skip
            return self._move("record", opened)

    def probe(self, handler: str, worker: str, lease_ms: int) -> Probe:
        with self._lock:
            now, circuit = self.clock.now_ms(), self.get(handler)
            if circuit.state is CircuitState.CLOSED:
                return Probe(circuit, None)
            waits = circuit.until_ms is not None and now < circuit.until_ms
            if circuit.state is CircuitState.PAUSED:
                if circuit.until_ms is None or waits:
                    return Probe(circuit, 0)
                return Probe(self._move("probe", Circuit(handler=handler)), None)
            if circuit.state is CircuitState.OPEN:
                if waits:
                    return Probe(circuit, 0)
                circuit = replace(circuit, state=CircuitState.HALF_OPEN, until_ms=None, trial="")
            if circuit.trial != worker:
                if circuit.trial and now < self._trials[handler]:
                    return Probe(circuit, 0)
                # Later than the previous trial: dispatchers distinguish trials by `since_ms`.
                since = max(now, (circuit.since_ms or 0) + 1)
                circuit = replace(circuit, trial=worker, since_ms=since)
            self._trials[handler] = now + lease_ms
            return Probe(self._move("probe", circuit), 1)

    def pause(self, handler: str, *, for_ms: int | None = None, reason: str = "") -> Circuit:
        with self._lock:
            now = self.clock.now_ms()
            paused = Circuit(
                handler=handler, state=CircuitState.PAUSED, since_ms=now, reason=reason,
                until_ms=None if for_ms is None else now + for_ms,
            )  # fmt: skip
            return self._move("pause", paused)

    def resume(self, handler: str) -> bool:
        with self._lock:
            was_closed = handler not in self._circuits
            self._counts.pop(handler, None)
            self._move("resume", Circuit(handler=handler))
            return not was_closed

    def _is_too_much(self, handler: str, breaker: Breaker, calls: int, failures: int) -> bool:
        """Count the calls; return whether too many failed within the window."""
        part = int(self.clock.now_ms() // max(1, breaker.window * 1000 / BUCKETS))
        counts = self._counts.setdefault(handler, {})
        called, failed = counts.get(part, (0, 0))
        counts[part] = (called + calls, failed + failures)
        for old in [known for known in counts if known <= part - BUCKETS]:
            del counts[old]
        called, failed = (sum(column) for column in zip(*counts.values(), strict=True))
        return (
            failures > 0 and failed >= breaker.failures and failed >= breaker.failure_rate * called
        )

    def _move(self, call: str, after: Circuit) -> Circuit:
        before = self.get(after.handler).state
        if after.state not in CIRCUIT_MOVES[before, call]:
            raise AssertionError(f"{call} must not move a circuit from {before} to {after.state}")
        if after.state is CircuitState.CLOSED:
            self._circuits.pop(after.handler, None)
            self._counts.pop(after.handler, None)
        else:
            self._circuits[after.handler] = after
        return after
