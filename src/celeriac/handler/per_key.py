"""Options of a handler that hold for each key of its events, such as each tenant."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from celeriac.errors import SubscriptionError
from celeriac.flow_control import SUBJECT, FlowControl, Keep, stored_key
from celeriac.handler.key_path import check_key

_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*/\s*([smh])")
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
        most: Seconds after the key's first event after which its events are delivered anyway.
        keep: `"last"` or `"first"` delivers one event and coalesces the others into it; `"all"`
            delivers all of them to the handler in one list.

    Raises:
        SubscriptionError: A value is out of range.
    """

    quiet: float
    most: float
    keep: Keep = "last"

    def __post_init__(self) -> None:
        for option, value in (("quiet", self.quiet), ("most", self.most)):
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise SubscriptionError(
                    f"Debounce({option}={value!r}): must be a number of seconds over 0"
                )
        if self.most < self.quiet:
            raise SubscriptionError(
                f"Debounce(quiet={self.quiet}, most={self.most}): most must be at least quiet, "
                "since it is counted from the first event of a key"
            )
        if self.keep not in _KEEPS:
            raise SubscriptionError(f"Debounce(keep={self.keep!r}): one of {', '.join(_KEEPS)}")


def rate_per_second(rate: object) -> float | None:
    """50 and '50/s' are fifty events a second. Raises SubscriptionError."""
    if rate is None:
        return None
    found = _RATE.fullmatch(rate.strip()) if isinstance(rate, str) else None
    value = float(found[1]) / _SECONDS[found[2]] if found else rate
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise SubscriptionError(
            f"rate_limit={rate!r}: events a time, like '50/s', '600/m' or '5/h'"
        )
    return float(value)


def make_flow_control(
    *,
    ordered: bool,
    key: str | None,
    concurrency: int | PerKey | None,
    rate_limit: str | float | PerKey | None,
    fair: bool,
    weights: Mapping[str, float] | None,
    debounce: Debounce | None,
    data_type: Any = Any,
) -> FlowControl | None:
    """Return what the options ask for each key; None if they ask nothing of that kind.

    Raises SubscriptionError with the remedy.
    """
    limit = concurrency.limit if isinstance(concurrency, PerKey) else None
    per_second = None
    if isinstance(rate_limit, PerKey):
        try:
            per_second = rate_per_second(rate_limit.limit)
        except SubscriptionError:
            raise SubscriptionError(
                f"rate_limit={rate_limit!r}: give a rate such as PerKey('10/s')"
            ) from None
    if isinstance(concurrency, PerKey) and (
        isinstance(limit, bool) or not isinstance(limit, int) or limit < 1
    ):
        raise SubscriptionError(
            f"concurrency={concurrency!r}: give a whole number of at least 1, such as PerKey(2)"
        )
    if ordered and isinstance(limit, int) and limit > 1:
        raise SubscriptionError(
            f"ordered=True and concurrency=PerKey({limit}) exclude each other: ordered events run "
            "one at a time for each key; drop one of them"
        )
    _check_turns(fair, weights)
    _check_debounce(debounce, ordered)
    if key is not None:
        check_key(key, data_type)
    asked = ordered or limit is not None or per_second is not None or fair or debounce is not None
    if not asked:
        if key is not None:
            raise SubscriptionError(
                f"key={key!r} limits nothing by itself; add ordered=True, concurrency=PerKey(2), "
                "rate_limit=PerKey('10/s'), fair=True or debounce=Debounce(...)"
            )
        return None
    return FlowControl(
        key=key or SUBJECT,
        ordered=ordered,
        concurrency=1 if ordered else limit if isinstance(limit, int) else None,
        per_second=per_second,
        fair=fair,
        weights=tuple(sorted((stored_key(name), w) for name, w in (weights or {}).items())),
        quiet_ms=round(debounce.quiet * 1000) if debounce else 0,
        max_quiet_ms=round(debounce.most * 1000) if debounce else 0,
        keep=debounce.keep if debounce else "last",
    )


def _check_turns(fair: bool, weights: Mapping[str, float] | None) -> None:
    if not isinstance(fair, bool):
        raise SubscriptionError(f"fair={fair!r}: must be True or False")
    if weights is None:
        return
    if not fair:
        raise SubscriptionError("weights= weighs the turns of the keys; add fair=True")
    if not isinstance(weights, Mapping):
        raise SubscriptionError(f"weights={weights!r}: give a mapping such as {{'gold': 4}}")
    for name, weight in weights.items():
        number = isinstance(weight, int | float) and not isinstance(weight, bool)
        if not isinstance(name, str) or not number or not weight > 0:
            raise SubscriptionError(
                f"weights={{{name!r}: {weight!r}}}: a key, as text, and a number over 0"
            )


def _check_debounce(debounce: Debounce | None, ordered: bool) -> None:
    if debounce is None:
        return
    if not isinstance(debounce, Debounce):
        raise SubscriptionError(f"debounce={debounce!r}: give a Debounce(quiet=5, most=60)")
    if ordered:
        raise SubscriptionError(
            "debounce= and ordered=True exclude each other: coalesced events have no order; use "
            "concurrency=PerKey(1) to run one at a time for each key"
        )
