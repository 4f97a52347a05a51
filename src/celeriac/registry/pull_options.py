"""The options of a handler whose deliveries are fetched over HTTP, as they are registered."""

from __future__ import annotations

from typing import Literal

import msgspec

DEFAULT_LEASE = 30.0  # seconds


class PullBreaker(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of `Breaker`."""

    failures: int = 5
    window: float = 60.0
    recovery_timeout: float = 30.0
    failure_rate: float = 0.5


class PullDebounce(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of `Debounce`. All events in one list have no form in this protocol."""

    quiet: float
    max_wait: float
    keep: Literal["first", "last"] = "last"


class PullOptions(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The options of `bus.on` that apply, with their defaults; `lease` is in seconds.

    `signed` is None for the setting `require_signature` of the gateway. `description` is what lists
    of handlers show.
    """

    retries: int = 5
    backoff: float = 1.0
    max_backoff: float = 600.0
    jitter: float = 0.25
    lease: float = DEFAULT_LEASE
    start: str = "now"
    paused: bool = False
    signed: bool | None = None
    ordered: bool = False
    key: str | None = None
    concurrency: int | None = None
    concurrency_per_key: int | None = None
    rate_limit: str | None = None
    rate_limit_per_key: str | None = None
    fair: bool = False
    weights: dict[str, float] | None = None
    share: float | None = None
    tenants: tuple[str, ...] | None = None
    breaker: PullBreaker | None = None
    debounce: PullDebounce | None = None
    description: str = ""
