"""Which handlers a dispatcher may take for: what the circuits of the bus say, kept at hand."""

from __future__ import annotations

from collections.abc import Sequence

from celeriac.circuit_breaker import Probe
from celeriac.handler import Handler
from celeriac.store.factory import Backend

LOOK_EVERY = 0.5  # seconds; at each turn where a handler has a breaker, which opens in a moment


class Doors:
    """What each handler's circuit lets through, as this dispatcher last saw it."""

    def __init__(self) -> None:
        self._looked_at: float | None = None
        self._probes: dict[str, Probe] = {}
        self._watched: tuple[Sequence[Handler], bool] = ((), False)
        # Of a trial that was sent: since when the circuit is as it was then.
        self._tried: dict[str, int | None] = {}

    def look(
        self, backend: Backend, worker: str, handlers: Sequence[Handler], lease_ms: int, now: float
    ) -> list[str]:
        """Asks, where it is time to; returns the handlers that are newly shut."""
        if self._watched[0] is not handlers:
            self._watched = handlers, any(handler.breaker is not None for handler in handlers)
        watched = self._watched[1]
        if self._looked_at is not None and not watched and now - self._looked_at < LOOK_EVERY:
            return []
        self._looked_at = now
        there, before = backend.circuits.all(), self._probes
        probes = {
            handler.id: backend.circuits.probe(handler.id, worker, lease_ms)
            for handler in handlers
            if handler.id in there
        }
        self._probes = {name: probe for name, probe in probes.items() if probe.limit is not None}
        return [n for n, p in self._probes.items() if p.limit == 0 and n not in before]

    def most(self, handler: str) -> int | None:
        """How many events may be taken: None for any number, 1 for a trial, 0 for none."""
        probe = self._probes.get(handler)
        if probe is None:
            return None
        tried = self._tried.get(handler, 0) == probe.circuit.since_ms
        return 0 if tried else probe.limit

    def sent(self, handler: str) -> None:
        """A hint of the handler was sent: where it is on trial, this is the one event."""
        probe = self._probes.get(handler)
        if probe is not None:
            self._tried[handler] = probe.circuit.since_ms
