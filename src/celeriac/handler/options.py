"""The options of `bus.on`, in one record: their types, their defaults and their checks."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from celeriac.circuit_breaker import Breaker
from celeriac.errors import SubscriptionError
from celeriac.handler.event_filter import Predicate
from celeriac.handler.per_key import Debounce, PerKey, rate_per_second
from celeriac.handler.policy import ErrorPolicies, RetryPolicy, check_policies
from celeriac.handler.share import check_share
from celeriac.number_range import MAX_COUNT, MAX_SECONDS, in_range

Start = Literal["now", "beginning"] | datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerOptions:
    """The options of one handler, as given to `bus.on`, which documents each of them."""

    name: str | None = None
    when: Predicate | None = None
    retries: int = 5
    backoff: float = 1.0
    max_backoff: float = 600.0
    jitter: float = 0.25
    on_error: ErrorPolicies | None = None
    time_limit: float | None = None
    soft_time_limit: float | None = None
    rate_limit: str | float | PerKey | None = None
    priority: int = 0
    queue: str | None = None
    batch: int | None = None
    ordered: bool = False
    # None means the setting `require_signature`, which `bus.on` puts in its place.
    signed: bool | None = None
    inbox: Any = None
    start: Start = "now"
    concurrency: int | PerKey | None = None
    breaker: Breaker | None = None
    share: float | None = None
    tenants: Sequence[str] | None = None
    paused: bool = False
    key: str | None = None
    fair: bool = False
    weights: Mapping[str, float] | None = None
    debounce: Debounce | None = None

    @property
    def takes_list(self) -> bool:
        """Whether the function is called with a list of events."""
        return self.batch is not None or self.debounces_all

    @property
    def debounces_all(self) -> bool:
        """Whether debounced events are delivered together, in one list."""
        return isinstance(self.debounce, Debounce) and self.debounce.keep == "all"

    @property
    def total_concurrency(self) -> int | None:
        """The limit for all events together; None where `concurrency` is a limit per key."""
        return None if isinstance(self.concurrency, PerKey) else self.concurrency

    @property
    def total_rate(self) -> float | None:
        """Events per second over all keys; None where `rate_limit` is a limit per key."""
        if isinstance(self.rate_limit, PerKey):
            return None
        return rate_per_second(self.rate_limit)

    def retry_policy(self) -> RetryPolicy:
        """Return the policy for exceptions that `on_error` does not name."""
        return RetryPolicy(
            retries=self.retries,
            backoff=self.backoff,
            max_backoff=self.max_backoff,
            jitter=self.jitter,
        )

    def check(self) -> None:
        """Raise SubscriptionError, with the remedy, for the first wrong option or combination.

        The options per key are checked by `make_flow_control`, the inbox by `as_inbox`.
        """
        self._check_types()
        self.retry_policy()
        check_policies(self.on_error or {})
        self._check_values()
        self._check_time_limits()
        self._check_start()
        check_share(self.share)
        self._check_protection()
        self._check_debounced()

    def _check_types(self) -> None:
        numbers = (
            "retries", "backoff", "max_backoff", "jitter", "time_limit", "soft_time_limit",
        )  # fmt: skip
        for types, expected, names in (
            ((int, float), "a number", numbers),
            ((int,), "a whole number", ("retries", "priority", "batch", "total_concurrency")),
            ((str,), "a name", ("queue",)),
        ):
            for name in names:
                value = getattr(self, name)
                # A bool is an int in Python, but never a valid number here.
                fits = isinstance(value, types) and not isinstance(value, bool) and value != ""
                if value is not None and not fits:
                    option = name.removeprefix("total_")
                    raise SubscriptionError(f"{option}={value!r}: must be {expected}")

    def _check_values(self) -> None:
        if self.batch is not None and not in_range(self.batch, 1, MAX_COUNT):
            raise SubscriptionError(
                f"batch={self.batch}: must be at least 1, and at most {MAX_COUNT}"
            )
        if self.batch is not None and self.ordered:
            raise SubscriptionError(
                "batch= and ordered=True exclude each other: a batch mixes subjects; drop one of "
                "them"
            )
        if not 0 <= self.priority <= 9:
            raise SubscriptionError(
                f"priority={self.priority}: must be from 0 (normal) to 9 (most urgent)"
            )
        if not isinstance(self.paused, bool):
            raise SubscriptionError(f"paused={self.paused!r}: must be True or False")
        if self.when is not None and (
            not callable(self.when) or inspect.iscoroutinefunction(self.when)
        ):
            raise SubscriptionError(
                f"when={self.when!r}: must be a function that takes the event and returns a bool; "
                "a coroutine function is not supported"
            )

    def _check_time_limits(self) -> None:
        hard, soft = self.time_limit, self.soft_time_limit
        if hard is not None and soft is not None and soft >= hard:
            raise SubscriptionError(
                f"soft_time_limit={soft}: must be under time_limit={hard}, which ends the process"
            )
        for option, limit in (("time_limit", hard), ("soft_time_limit", soft)):
            if limit is not None and (not in_range(limit, 0, MAX_SECONDS) or not limit):
                raise SubscriptionError(
                    f"{option}={limit}: must be over 0 seconds, and at most {MAX_SECONDS}"
                )

    def _check_start(self) -> None:
        if isinstance(self.start, datetime):
            if self.start.tzinfo is None:
                raise SubscriptionError(
                    f"start={self.start!r}: has no timezone. Give it one, such as {UTC}"
                )
        elif self.start not in ("now", "beginning"):
            raise SubscriptionError(
                f"start={self.start!r}: must be 'now', 'beginning' or a datetime"
            )

    def _check_protection(self) -> None:
        limit = self.total_concurrency
        if limit is not None and not in_range(limit, 1, MAX_COUNT):
            raise SubscriptionError(
                f"concurrency={limit}: must be at least 1, and at most {MAX_COUNT}"
            )
        if self.breaker is not None and not isinstance(self.breaker, Breaker):
            raise SubscriptionError(
                f"breaker={self.breaker!r}: must be a Breaker, such as "
                "Breaker(failures=5, window=60, recovery_timeout=30)"
            )

    def _check_debounced(self) -> None:
        # Another type is refused by `make_flow_control`.
        if not isinstance(self.debounce, Debounce):
            return
        if self.batch is not None:
            raise SubscriptionError(
                "batch= and debounce= exclude each other: with Debounce(keep='all') the handler "
                "already takes a list; drop batch="
            )
        if self.debounce.keep == "all":
            return
        # These options are evaluated after coalescing. An event that they reject would already
        # have absorbed the events that they accept.
        conflicts = {
            "when=": self.when is not None,
            "signed=True": bool(self.signed),
            "share=": self.share is not None,
            "tenants=": self.tenants is not None,
        }
        for option, is_set in conflicts.items():
            if is_set:
                raise SubscriptionError(
                    f"{option} and Debounce(keep={self.debounce.keep!r}) exclude each other: "
                    f"events are coalesced before {option.partition('=')[0]} is evaluated; use "
                    "keep='all'"
                )
