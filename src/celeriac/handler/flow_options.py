"""The options of a handler that limit each key, as a FlowControl."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from celeriac.errors import SubscriptionError
from celeriac.flow_control import SUBJECT, FlowControl, stored_key
from celeriac.handler.key_path import check_key
from celeriac.handler.options import HandlerOptions
from celeriac.handler.per_key import Debounce, PerKey, rate_per_second
from celeriac.number_range import MAX_COUNT, in_range


def make_flow_control(options: HandlerOptions, data_type: Any = Any) -> FlowControl | None:
    """Return the limits per key; None if no option sets one.

    Raises SubscriptionError, with the remedy, for a wrong option or combination.
    """
    concurrency = _key_concurrency(options)
    per_second = _key_rate(options)
    weights = _checked_weights(options.fair, options.weights)
    debounce = _checked_debounce(options.debounce, options.ordered)
    if options.key is not None:
        check_key(options.key, data_type)
    limits = (concurrency, per_second, debounce)
    if not (options.ordered or options.fair or any(limit is not None for limit in limits)):
        if options.key is not None:
            raise SubscriptionError(
                f"key={options.key!r} limits nothing by itself; add ordered=True, "
                "concurrency=PerKey(2), rate_limit=PerKey('10/s'), fair=True or "
                "debounce=Debounce(...)"
            )
        return None
    return FlowControl(
        key=options.key or SUBJECT,
        ordered=options.ordered,
        concurrency=1 if options.ordered else concurrency,
        per_second=per_second,
        fair=options.fair,
        weights=tuple(sorted((stored_key(key), weight) for key, weight in weights.items())),
        quiet_ms=round(debounce.quiet * 1000) if debounce else 0,
        max_quiet_ms=round(debounce.max_wait * 1000) if debounce else 0,
        keep=debounce.keep if debounce else "last",
    )


def _key_concurrency(options: HandlerOptions) -> int | None:
    if not isinstance(options.concurrency, PerKey):
        return None
    limit = options.concurrency.limit
    if not in_range(limit, 1, MAX_COUNT) or not isinstance(limit, int):
        raise SubscriptionError(
            f"concurrency={options.concurrency!r}: must be a whole number of at least 1, and at "
            f"most {MAX_COUNT}, such as PerKey(2)"
        )
    if options.ordered and limit > 1:
        raise SubscriptionError(
            f"ordered=True and concurrency=PerKey({limit}) exclude each other: ordered events run "
            "one at a time for each key; drop one of them"
        )
    return limit


def _key_rate(options: HandlerOptions) -> float | None:
    if not isinstance(options.rate_limit, PerKey):
        return None
    try:
        return rate_per_second(options.rate_limit.limit)
    except SubscriptionError:
        raise SubscriptionError(
            f"rate_limit={options.rate_limit!r}: must be a rate from once in ten years to "
            f"{MAX_COUNT} per second, such as PerKey('10/s')"
        ) from None


def _checked_weights(fair: bool, weights: Mapping[str, float] | None) -> Mapping[str, float]:
    if not isinstance(fair, bool):
        raise SubscriptionError(f"fair={fair!r}: must be True or False")
    if weights is None:
        return {}
    if not fair:
        raise SubscriptionError("weights= applies to fair scheduling only; add fair=True")
    if not isinstance(weights, Mapping):
        raise SubscriptionError(f"weights={weights!r}: must be a mapping such as {{'gold': 4}}")
    for key, weight in weights.items():
        if not isinstance(key, str) or not in_range(weight, 1 / MAX_COUNT, MAX_COUNT):
            raise SubscriptionError(
                f"weights={{{key!r}: {weight!r}}}: must map a key (str) to a number over 0, and at "
                f"most {MAX_COUNT}"
            )
    return weights


def _checked_debounce(debounce: Any, ordered: bool) -> Debounce | None:
    if debounce is None:
        return None
    if not isinstance(debounce, Debounce):
        raise SubscriptionError(
            f"debounce={debounce!r}: must be a Debounce, such as Debounce(quiet=5, max_wait=60)"
        )
    if ordered:
        raise SubscriptionError(
            "debounce= and ordered=True exclude each other: coalesced events have no order; use "
            "concurrency=PerKey(1) to run one at a time for each key"
        )
    return debounce
