"""The circuits of a dispatcher's handlers, cached: which handlers it may fetch for."""

from __future__ import annotations

from collections.abc import Sequence

from celeriac.circuit_breaker import Probe
from celeriac.handler import Handler
from celeriac.store.factory import Backend

REFRESH_INTERVAL = 0.5  # seconds; every poll if a handler has a breaker, since it opens at any time


class CircuitCache:
    """The limit of each handler by its circuit, as this dispatcher last read it."""

    def __init__(self) -> None:
        self._refreshed_at: float | None = None
        self._probes: dict[str, Probe] = {}
        self._watched: tuple[Sequence[Handler], bool] = ((), False)
        # Handlers whose trial was sent → since when the circuit was in that state.
        self._tried: dict[str, int | None] = {}

    def refresh(
        self, backend: Backend, worker: str, handlers: Sequence[Handler], lease_ms: int, now: float
    ) -> list[str]:
        """Read the circuits if due; return the handlers whose circuit has opened."""
        if self._watched[0] is not handlers:
            self._watched = handlers, any(handler.breaker is not None for handler in handlers)
        watched = self._watched[1]
        if (
            self._refreshed_at is not None
            and not watched
            and now - self._refreshed_at < REFRESH_INTERVAL
        ):
            return []
        self._refreshed_at = now
        known, before = backend.circuits.all(), self._probes
        probes = {
            handler.id: backend.circuits.probe(handler.id, worker, lease_ms)
            for handler in handlers
            if handler.id in known
        }
        self._probes = {name: probe for name, probe in probes.items() if probe.limit is not None}
        return [n for n, p in self._probes.items() if p.limit == 0 and n not in before]

    def limit(self, handler: str) -> int | None:
        """Return how many events may be fetched: None for any number, 1 for a trial, 0 for none."""
        probe = self._probes.get(handler)
        if probe is None:
            return None
        tried = self._tried.get(handler, 0) == probe.circuit.since_ms
        return 0 if tried else probe.limit

    def sent(self, handler: str) -> None:
        """Record that a delivery task was sent: for a handler on trial, this is the one event."""
        probe = self._probes.get(handler)
        if probe is not None:
            self._tried[handler] = probe.circuit.since_ms
