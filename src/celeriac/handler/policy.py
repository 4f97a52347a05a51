"""What happens after a failed attempt: a retry after a delay, or a dead letter.

When a handler raises, `decide` looks up the exception in the handler's policy. A retry follows
after a backoff that doubles and is jittered: the delivery is *scheduled*, and the attempt counts.
Otherwise the delivery is dead-lettered with the traceback, until an operator redrives or discards
it. A handler raises `Retry` or `Reject` to decide by itself.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from celeriac.delivery.state import Outcome
from celeriac.errors import (
    CircuitOpen,
    InvalidData,
    InvalidEvent,
    PushFailed,
    Reject,
    Retry,
    SubscriptionError,
)
from celeriac.number_range import MAX_SECONDS, in_range

MAX_REQUEUE_SECONDS = 600.0
MAX_DELAY = float(MAX_SECONDS)  # gives Retry(after=inf) a time, too


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and when a failed delivery runs again.

    The n-th retry waits `backoff * 2**(n-1)` seconds, at most `max_backoff`, plus a random part of
    up to `jitter` of that. Jitter never shortens a wait.

    Attributes:
        retries: Attempts after the first.
        backoff: Seconds before the first retry.
        max_backoff: Upper limit of the wait, in seconds, without jitter.
        jitter: Largest random addition, as a part of the wait.

    Raises:
        SubscriptionError: A value is negative or not finite, or a wait is over ten years.
    """

    retries: int = 5
    backoff: float = 1.0
    max_backoff: float = 600.0
    jitter: float = 0.25

    def __post_init__(self) -> None:
        for name in ("retries", "jitter"):
            if not in_range(getattr(self, name), 0, sys.float_info.max):
                raise SubscriptionError(
                    f"{name}={getattr(self, name)!r}: must be a finite number of at least 0"
                )
        for name in ("backoff", "max_backoff"):
            if not in_range(getattr(self, name), 0, MAX_SECONDS):
                raise SubscriptionError(
                    f"{name}={getattr(self, name)!r}: must be a finite number of at least 0, and "
                    f"at most {MAX_SECONDS} seconds"
                )

    def delay(self, attempt: int, chance: float) -> float:
        """Return the seconds before the retry that follows attempt number `attempt`.

        `chance` is a random number in [0, 1).
        """
        # 2.0**1024 overflows; no deployment waits 2**63 backoffs.
        wait = min(self.max_backoff, self.backoff * 2.0 ** min(attempt - 1, 63))
        return min(wait * (1 + self.jitter * chance), MAX_DELAY)


ErrorPolicies = Mapping[type[BaseException], RetryPolicy | None]


def check_policies(policies: ErrorPolicies) -> None:
    """Raise SubscriptionError for an `on_error` that would fail only at the first exception."""
    if not isinstance(policies, Mapping):
        raise SubscriptionError(
            f"on_error={policies!r}: must map exception classes to a RetryPolicy(...) or None, "
            "as in {TimeoutError: None}"
        )
    for kind, policy in policies.items():
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise SubscriptionError(f"on_error has the key {kind!r}: must be an exception class")
        if not (policy is None or isinstance(policy, RetryPolicy)):
            raise SubscriptionError(
                f"on_error has {policy!r} for {kind.__name__}: must be a RetryPolicy(...), or None "
                "to dead-letter at once"
            )


@dataclass(frozen=True, slots=True)
class FailurePolicy:
    """A handler's default policy, and one by exception class; None dead-letters at once."""

    default: RetryPolicy = field(default_factory=RetryPolicy)
    on_error: ErrorPolicies = field(default_factory=dict)

    def of(self, error: BaseException) -> RetryPolicy | None:
        """Return the policy for the first class in the MRO of the error, else the default."""
        for kind in type(error).__mro__:
            if kind in self.on_error:
                return self.on_error[kind]
        return self.default

    @property
    def max_attempts(self) -> int:
        """The attempts after which a delivery that only crashed its process is dead-lettered.

        At least 2: another event of the same chunk may have caused the first crash.
        """
        policies = [self.default, *(p for p in self.on_error.values() if p is not None)]
        return max(1, *(policy.retries for policy in policies)) + 1


@dataclass(frozen=True, slots=True)
class Decision:
    outcome: Outcome
    delay_ms: int = 0


def decide(
    policy: FailurePolicy,
    error: BaseException,
    attempt: int,
    chance: Callable[[], float] = random.random,
) -> Decision:
    """Return the outcome of attempt `attempt`, counted from 1, that raised this error."""
    if isinstance(error, (Reject, InvalidData, InvalidEvent)):
        # A retry would fail the same way: the event does not change.
        return Decision(Outcome.DEAD)
    if isinstance(error, CircuitOpen):
        seconds = min(max(1.0, error.after), MAX_REQUEUE_SECONDS)
        return Decision(Outcome.REQUEUED, int(seconds * 1000))
    chosen = policy.of(error)
    if chosen is None or attempt > chosen.retries:
        return Decision(Outcome.DEAD)
    seconds = chosen.delay(attempt, chance())
    if isinstance(error, Retry) and error.after is not None:
        seconds = min(max(0.0, error.after), MAX_DELAY)
    if isinstance(error, PushFailed) and error.after is not None:
        # Not less than the backoff: `Retry-After: 0` must not use up the attempts at once.
        seconds = max(seconds, min(error.after, MAX_DELAY))
    return Decision(Outcome.RETRY, int(seconds * 1000))
