"""The circuit breaker of an endpoint: while it is open, its deliveries wait without an attempt."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from celeriac.circuit_breaker import Breaker, Circuit, CircuitState
from celeriac.errors import CircuitOpen, PushFailed
from celeriac.event import RawEvent
from celeriac.executor.error_text import describe
from celeriac.service import Service


class EndpointCircuits:
    """The circuits of the endpoints of one handler: `handler/endpoint` among those of the bus.

    So they are shared by all workers, and commands list and resume them like those of handlers.
    """

    def __init__(self, service: Service, handler: str, breaker: Breaker, trial: float) -> None:
        self._service, self._handler, self._breaker = service, handler, breaker
        self._trial_ms = int(trial * 1000)

    @contextmanager
    def calling(self, endpoint: str, delivery: str, event: RawEvent) -> Iterator[None]:
        """Wrap one request to the endpoint, whose outcome is reported.

        Raises CircuitOpen if the circuit is open, or if another delivery is on trial.
        """
        circuits, name = self._service.backend.circuits, f"{self._handler}/{endpoint}"
        # Each delivery asks by its own name: only one of them gets the trial.
        probe = circuits.probe(name, delivery, self._trial_ms)
        if probe.limit == 0:
            raise CircuitOpen(
                f"endpoint {endpoint}: {probe.circuit.reason}",
                after=self._wait(probe.circuit, event),
            )
        try:
            yield
        except PushFailed as error:
            circuits.record(name, self._breaker, 1, 1, describe(error))
            raise
        except BaseException:
            # No sign of the endpoint's health, but the end of a trial.
            if probe.circuit.state is CircuitState.HALF_OPEN:
                circuits.record(name, self._breaker, 0, 0)
            raise
        circuits.record(name, self._breaker, 1, 0)

    def _wait(self, circuit: Circuit, event: RawEvent) -> float:
        """Return the seconds until the circuit may close, and at least a tenth of the event's age.

        An endpoint that is down for days has many deliveries, and each looks that often.
        """
        remaining = 0.0
        if circuit.until_ms is not None:
            # `until_ms` is by the clock of the server.
            ahead = circuit.until_ms / 1000 - time.time()
            remaining = min(ahead, self._breaker.recovery_timeout)
        age = 0.0 if event.time is None else (datetime.now(UTC) - event.time).total_seconds()
        return max(remaining, age / 10, 1.0)
