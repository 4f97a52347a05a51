"""The circuit breaker of a handler: its states and the moves between them.

M. Nygard, Release It!, "Circuit Breaker". A handler whose attempts keep failing is paused for all
workers: nothing is fetched for it, so no attempt is wasted, and its backlog waits. After
`recovery_timeout`, one worker fetches one event as a trial. Its outcome closes the circuit or opens
it again. Operators can pause and resume any handler manually, with or without a breaker.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import msgspec

from celeriac.errors import SubscriptionError

BUCKETS = 10  # a window is counted in so many parts, and moves on by one of them


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
        if not isinstance(self.failures, int) or self.failures < 1:
            raise SubscriptionError(f"Breaker(failures={self.failures!r}): a number from 1 up")
        for name in ("window", "recovery_timeout"):
            if not 0.01 <= getattr(self, name) < math.inf:
                raise SubscriptionError(
                    f"Breaker({name}={getattr(self, name)!r}): seconds, from 0.01 up"
                )
        if not 0 <= self.failure_rate <= 1:
            raise SubscriptionError(
                f"Breaker(failure_rate={self.failure_rate!r}): from 0 to 1, e.g. 0.5"
            )

    def __str__(self) -> str:
        return f"{self.failures} in {self.window:g}s"


class CircuitState(StrEnum):
    CLOSED = "closed"  # the handler is served
    OPEN = "open"  # paused by its breaker, until a time
    HALF_OPEN = "half-open"  # one event of it is on trial
    PAUSED = "paused"  # by hand, until it is resumed or until a time


_CLOSED, _OPEN = CircuitState.CLOSED, CircuitState.OPEN
_HALF_OPEN, _PAUSED = CircuitState.HALF_OPEN, CircuitState.PAUSED

CIRCUIT_MOVES: dict[tuple[CircuitState, str], frozenset[CircuitState]] = {
    # tell: calls of the handler ended, so many of them failed
    (_CLOSED, "record"): frozenset({_CLOSED, _OPEN}),
    (_HALF_OPEN, "record"): frozenset({_HALF_OPEN, _CLOSED, _OPEN}),
    (_OPEN, "record"): frozenset({_OPEN}),
    (_PAUSED, "record"): frozenset({_PAUSED}),
    # probe: a dispatcher asks what it may take
    (_CLOSED, "probe"): frozenset({_CLOSED}),
    (_OPEN, "probe"): frozenset({_OPEN, _HALF_OPEN}),
    (_HALF_OPEN, "probe"): frozenset({_HALF_OPEN}),
    (_PAUSED, "probe"): frozenset({_PAUSED, _CLOSED}),
    **{(state, "pause"): frozenset({_PAUSED}) for state in CircuitState},
    **{(state, "resume"): frozenset({_CLOSED}) for state in CircuitState},
}


class Circuit(msgspec.Struct, frozen=True, kw_only=True):
    """The circuit of one handler. Times are ms since the epoch by the server's clock.

    `until_ms` is when it goes on by itself: None where it is closed, on trial, or paused until
    somebody resumes it. `reason` is the last error, or what was given with the pause. `trial` is
    the worker that has the one event on trial.
    """

    handler: str
    state: CircuitState = CircuitState.CLOSED
    since_ms: int | None = None
    until_ms: int | None = None
    reason: str = ""
    trial: str = ""

    @property
    def flows(self) -> bool:
        """Whether an executor may claim what it has a hint for."""
        return self.state in (CircuitState.CLOSED, CircuitState.HALF_OPEN)


@dataclass(frozen=True, slots=True)
class Probe:
    """What a dispatcher may take. `most` is None for all, 1 for a trial, 0 for nothing."""

    circuit: Circuit
    most: int | None


class Circuits(Protocol):
    """Every method is one atomic call, blocks for one round trip, and raises redis.RedisError
    where Redis cannot be reached."""

    def all(self) -> Mapping[str, Circuit]:
        """Handler → its circuit, for each that is not closed."""
        ...

    def get(self, handler: str) -> Circuit:
        """The handler's circuit; a closed one where nothing is known of it."""
        ...

    def record(
        self, handler: str, breaker: Breaker, calls: int, failures: int, reason: str = ""
    ) -> Circuit:
        """Counts calls that ended; returns the circuit as it is then. Not idempotent: a count that
        is told twice after a lost answer counts twice."""
        ...

    def probe(self, handler: str, worker: str, lease_ms: int) -> Probe:
        """What the worker may take of the handler now. Of an open circuit whose pause is over, the
        first to ask gets the trial, and keeps it for `lease_ms` after each time it asks."""
        ...

    def pause(self, handler: str, *, for_ms: int | None = None, reason: str = "") -> Circuit:
        """Pauses the handler for all workers, until it is resumed or so long. Idempotent."""
        ...

    def resume(self, handler: str) -> bool:
        """Closes the circuit and forgets the failures counted; False if it was closed."""
        ...
