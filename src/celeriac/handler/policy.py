"""What happens after a failed attempt: again, when, or dead.

The life of a failure. A handler raises. `decide` looks the exception up in the handler's policy:
run again after a backoff that doubles and is jittered, or give up. Again means that the delivery
lies in *due* until its time, with the attempt counted; giving up means that it lies in dead
letters with the traceback, until someone redrives or discards it. `Retry` and `Reject` are how a
handler says itself what it wants.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from celeriac.delivery.state import Outcome
from celeriac.errors import InvalidData, InvalidEvent, Reject, Retry, SubscriptionError

LONGEST = 10 * 365 * 24 * 3600.0  # seconds; a Retry(after=inf) still has a time


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
        SubscriptionError: A value is negative or not finite.
    """

    retries: int = 5
    backoff: float = 1.0
    max_backoff: float = 600.0
    jitter: float = 0.25

    def __post_init__(self) -> None:
        for name in ("retries", "backoff", "max_backoff", "jitter"):
            if not 0 <= getattr(self, name) < math.inf:
                raise SubscriptionError(
                    f"{name}={getattr(self, name)!r} must be a number from 0 up"
                )

    def delay(self, attempt: int, chance: float) -> float:
        """Return the seconds before the retry that follows attempt number `attempt`.

        `chance` is a random number in [0, 1).
        """
        # 2.0**1024 overflows, and nobody waits 2**63 backoffs
        wait = min(self.max_backoff, self.backoff * 2.0 ** min(attempt - 1, 63))
        return wait * (1 + self.jitter * chance)


ErrorPolicies = Mapping[type[BaseException], RetryPolicy | None]


def check_policies(policies: ErrorPolicies) -> None:
    """Raises SubscriptionError for what only a failure would show to be wrong."""
    for kind, policy in policies.items():
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise SubscriptionError(f"on_error has {kind!r}, which is no class of exceptions")
        if not (policy is None or isinstance(policy, RetryPolicy)):
            raise SubscriptionError(
                f"on_error has {policy!r} for {kind.__name__}; give a RetryPolicy(...), or None "
                "for dead at once"
            )


@dataclass(frozen=True, slots=True)
class FailurePolicy:
    """The handler's policy, and its exceptions. In `on_error`, None means dead at once."""

    default: RetryPolicy = field(default_factory=RetryPolicy)
    on_error: ErrorPolicies = field(default_factory=dict)

    def of(self, error: BaseException) -> RetryPolicy | None:
        """The entry of the nearest class of the error, by its method resolution order."""
        for kind in type(error).__mro__:
            if kind in self.on_error:
                return self.on_error[kind]
        return self.default

    @property
    def max_attempts(self) -> int:
        """Attempts after which a delivery that only ever crashed its process is given up.

        At least 2: the first may have been in company, and the culprit another event."""
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
    """What follows from this error in attempt number `attempt`, counted from 1."""
    if isinstance(error, (Reject, InvalidData, InvalidEvent)):
        # The same bytes fail the same way every time.
        return Decision(Outcome.DEAD)
    chosen = policy.of(error)
    if chosen is None or attempt > chosen.retries:
        return Decision(Outcome.DEAD)
    seconds = chosen.delay(attempt, chance())
    if isinstance(error, Retry) and error.after is not None:
        seconds = min(max(0.0, error.after), LONGEST)
    return Decision(Outcome.RETRY, int(seconds * 1000))
