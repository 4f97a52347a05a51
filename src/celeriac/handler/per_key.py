"""Options of a handler that apply to each key of its events separately, such as each tenant."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from celeriac.errors import SubscriptionError
from celeriac.flow_control import Keep
from celeriac.number_range import MAX_COUNT, MAX_SECONDS, in_range

_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*/\s*([smh])", re.ASCII)
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_KEEPS = ("last", "first", "all")


@dataclass(frozen=True, slots=True)
class PerKey:
    """A limit that applies to each key separately.

    Use it as `concurrency=PerKey(2)` or `rate_limit=PerKey("10/s")`.
    """

    limit: int | float | str


@dataclass(frozen=True, slots=True)
class Debounce:
    """Deliver the events of a key once the key is quiet.

    Args:
        quiet: Seconds without another event of the key.
        max_wait: Seconds after the key's first event after which its events are delivered anyway.
        keep: `"last"` or `"first"` delivers one event and coalesces the others into it; `"all"`
            delivers all of them to the handler in one list.

    Raises:
        SubscriptionError: A value is out of range.
    """

    quiet: float
    max_wait: float
    keep: Keep = "last"

    def __post_init__(self) -> None:
        for option, value in (("quiet", self.quiet), ("max_wait", self.max_wait)):
            if not in_range(value, 0, MAX_SECONDS) or not value:
                raise SubscriptionError(
                    f"Debounce({option}={value!r}): must be a number of seconds over 0, and at "
                    f"most {MAX_SECONDS}"
                )
        if self.max_wait < self.quiet:
            raise SubscriptionError(
                f"Debounce(quiet={self.quiet}, max_wait={self.max_wait}): max_wait must be at "
                "least quiet, since it is counted from the first event of a key"
            )
        if self.keep not in _KEEPS:
            raise SubscriptionError(
                f"Debounce(keep={self.keep!r}): must be one of {', '.join(_KEEPS)}"
            )


def rate_per_second(rate: object) -> float | None:
    """Return the events per second of a rate: 50.0 for 50, '50/s' and '3000/m'.

    Raises SubscriptionError.
    """
    if rate is None:
        return None
    match = _RATE.fullmatch(rate.strip()) if isinstance(rate, str) else None
    value = float(match[1]) / _SECONDS[match[2]] if match else rate
    if not in_range(value, 0, math.inf) or not value:
        raise SubscriptionError(
            f"rate_limit={rate!r}: must be a rate, like '50/s', '600/m' or '5/h'"
        )
    if not in_range(value, 1 / MAX_SECONDS, MAX_COUNT):
        raise SubscriptionError(
            f"rate_limit={rate!r}: must be a rate from once in ten years to {MAX_COUNT} per second"
        )
    return float(value)
