"""The circuit breaker of a handler: its states and the moves between them.

M. Nygard, Release It!, "Circuit Breaker". A handler whose attempts keep failing is paused for all
workers: nothing is fetched for it, so no attempt is wasted, and its backlog waits. After
`recovery_timeout`, one worker fetches one event as a trial. Its outcome closes the circuit or opens
it again. Operators can pause and resume any handler manually, with or without a breaker.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import msgspec

from celeriac.errors import SubscriptionError
from celeriac.number_range import MAX_COUNT, MAX_SECONDS, in_range

BUCKETS = 10  # the parts of a window, which moves by one part at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """When celeriac pauses a handler whose calls fail.

    The circuit opens when at least `failures` calls failed within `window`, over all workers, and
    they are at least `failure_rate` of all calls. It stays open for `recovery_timeout`. Then one
    delivery is tried: success closes the circuit, failure opens it again.

    Attributes:
        failures: Failed calls that open the circuit.
        window: Seconds in which calls are counted.
        recovery_timeout: Seconds for which the circuit stays open.
        failure_rate: Least part of the calls that must have failed, from 0 to 1.

    Raises:
        SubscriptionError: A value is out of range.
    """

    failures: int = 5
    window: float = 60.0
    recovery_timeout: float = 30.0
    failure_rate: float = 0.5

    def __post_init__(self) -> None:
        if not isinstance(self.failures, int) or not in_range(self.failures, 1, MAX_COUNT):
            raise SubscriptionError(
                f"Breaker(failures={self.failures!r}): must be a whole number of at least 1, and "
                f"at most {MAX_COUNT}"
            )
        for name in ("window", "recovery_timeout"):
            if not in_range(getattr(self, name), 0.01, MAX_SECONDS):
                raise SubscriptionError(
                    f"Breaker({name}={getattr(self, name)!r}): must be at least 0.01 seconds, and "
                    f"at most {MAX_SECONDS}"
                )
        if not in_range(self.failure_rate, 0, 1):
            raise SubscriptionError(
                f"Breaker(failure_rate={self.failure_rate!r}): must be from 0 to 1, e.g. 0.5"
            )

    def __str__(self) -> str:
        return f"{self.failures} in {self.window:g}s"


class CircuitState(StrEnum):
    CLOSED = "closed"  # the handler runs
    OPEN = "open"  # paused by its breaker, until a time
    HALF_OPEN = "half-open"  # one of its events is on trial
    PAUSED = "paused"  # manually, until it is resumed or until a time


_CLOSED, _OPEN = CircuitState.CLOSED, CircuitState.OPEN
_HALF_OPEN, _PAUSED = CircuitState.HALF_OPEN, CircuitState.PAUSED

CIRCUIT_MOVES: dict[tuple[CircuitState, str], frozenset[CircuitState]] = {
    # record: calls of the handler ended, some of them failed
    (_CLOSED, "record"): frozenset({_CLOSED, _OPEN}),
    (_HALF_OPEN, "record"): frozenset({_HALF_OPEN, _CLOSED, _OPEN}),
    (_OPEN, "record"): frozenset({_OPEN}),
    (_PAUSED, "record"): frozenset({_PAUSED}),
    # probe: a dispatcher requests how many events it may fetch
    (_CLOSED, "probe"): frozenset({_CLOSED}),
    (_OPEN, "probe"): frozenset({_OPEN, _HALF_OPEN}),
    (_HALF_OPEN, "probe"): frozenset({_HALF_OPEN}),
    (_PAUSED, "probe"): frozenset({_PAUSED, _CLOSED}),
    **{(state, "pause"): frozenset({_PAUSED}) for state in CircuitState},
    **{(state, "resume"): frozenset({_CLOSED}) for state in CircuitState},
}


class Circuit(msgspec.Struct, frozen=True, kw_only=True):
    """The circuit of one handler. Times are ms since the epoch by the server's clock.

    `until_ms` is when the pause ends; None if the circuit is closed, on trial, or paused until an
    operator resumes it. `reason` is the last error, or the reason given for the pause. `trial` is
    the worker that has the event on trial.
    """

    handler: str
    state: CircuitState = CircuitState.CLOSED
    since_ms: int | None = None
    until_ms: int | None = None
    reason: str = ""
    trial: str = ""

    @property
    def allows_runs(self) -> bool:
        """Whether executors may claim deliveries of the handler."""
        return self.state in (CircuitState.CLOSED, CircuitState.HALF_OPEN)


@dataclass(frozen=True, slots=True)
class Probe:
    """How many events a dispatcher may fetch. `limit` is None for no limit, 1 for a trial, or 0."""

    circuit: Circuit
    limit: int | None


class Circuits(Protocol):
    """The circuits of all handlers. Every method is atomic and blocks for one round trip.

    Raises redis.RedisError if Redis is unreachable.
    """

    def all(self) -> Mapping[str, Circuit]:
        """Return handler → circuit for each circuit that is not closed."""
        ...

    def get(self, handler: str) -> Circuit:
        """Return the handler's circuit, by default a closed one."""
        ...

    def record(
        self, handler: str, breaker: Breaker, calls: int, failures: int, reason: str = ""
    ) -> Circuit:
        """Count calls that ended; return the circuit after that.

        Not idempotent: a retry after a lost reply counts the calls twice.
        """
        ...

    def probe(self, handler: str, worker: str, lease_ms: int) -> Probe:
        """Return how many events of the handler the worker may fetch now.

        After the recovery timeout of an open circuit, the first worker gets the trial, and keeps
        it for `lease_ms` after each probe.
        """
        ...

    def pause(self, handler: str, *, for_ms: int | None = None, reason: str = "") -> Circuit:
        """Pause the handler for all workers, for `for_ms` or until it is resumed. Idempotent."""
        ...

    def resume(self, handler: str) -> bool:
        """Close the circuit and reset its counts; return False if it was closed already."""
        ...
