"""The options of a handler."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import Any

import pytest

from celeriac import Event, RetryPolicy
from celeriac.delivery import Group
from celeriac.errors import SubscriptionError
from celeriac.handler import Handler, HandlerOptions, PerKey, make_handler


def charge(event: Event) -> None:
    """Charges the card.

    More.
    """


def several(events: list[Event]) -> None: ...


async def wants(event: Event) -> bool:
    return True


def made(*patterns: str, function: Any = charge, **options: Any) -> Handler:
    return make_handler(
        function, patterns or ("order.placed",), HandlerOptions(**options), service="billing"
    )


def test_it_is_named_after_service_and_function() -> None:
    handler = made()
    assert ("billing.charge", "charge", "billing") == (handler.id, handler.name, handler.queue)
    assert handler.doc == "Charges the card."
    assert Group("order", "billing.charge") == handler.group("order")


def test_a_name_of_its_own_is_its_identity() -> None:
    assert made(name="take_money").id == "billing.take_money"


def test_a_pattern_given_twice_counts_once() -> None:
    assert made("order.*", "order.*").patterns == ("order.*",)


@pytest.mark.parametrize(
    ("rate", "per_second"),
    [("50/s", 50.0), ("600/m", 10.0), ("36/h", 0.01), (7, 7.0), (None, None)],
)
def test_a_rate_is_read_per_second(rate: Any, per_second: float | None) -> None:
    assert made(rate_limit=rate).per_second == per_second


BAD: list[tuple[dict[str, Any], str]] = [
    ({"rate_limit": "fast"}, "like '50/s'"),
    ({"rate_limit": 0}, "like '50/s'"),
    ({"rate_limit": "0/s"}, "like '50/s'"),
    ({"rate_limit": "5/d"}, "like '50/s'"),
    ({"rate_limit": "٣/s"}, "like '50/s'"),
    ({"rate_limit": math.nan}, "like '50/s'"),
    ({"rate_limit": math.inf}, "from once in ten years"),
    ({"rate_limit": "9" * 400 + "/s"}, "from once in ten years"),
    ({"rate_limit": "0.000000000001/h"}, "from once in ten years"),
    ({"rate_limit": PerKey(math.inf)}, "from once in ten years"),
    ({"concurrency": 10**20}, "at most 2147483647"),
    ({"concurrency": PerKey(10**20)}, "at most 2147483647"),
    ({"batch": 10**20, "function": several}, "at most 2147483647"),
    ({"fair": True, "weights": {"acme": math.inf}}, "at most 2147483647"),
    ({"fair": True, "weights": {"acme": 1e-300}}, "a number over 0"),
    ({"time_limit": math.nan}, "time_limit=nan: must be over 0"),
    ({"time_limit": math.inf}, "at most 315360000"),
    ({"batch": 0, "function": several}, "at least 1"),
    ({"batch": 5, "ordered": True, "function": several}, "drop one of them"),
    ({"priority": 10}, "from 0 .normal. to 9"),
    ({"priority": -1}, "from 0 .normal. to 9"),
    ({"start": "tomorrow"}, "must be 'now', 'beginning' or a datetime"),
    ({"start": datetime(2026, 1, 1)}, "has no timezone"),
    ({"time_limit": 0}, "time_limit=0: must be over 0"),
    ({"soft_time_limit": -1}, "soft_time_limit=-1: must be over 0"),
    ({"when": True}, "must be a function"),
    ({"when": wants}, "a coroutine function is not supported"),
    ({"retries": -1}, "finite number of at least 0"),
    ({"on_error": {ValueError: 3}}, "must be a RetryPolicy"),
    ({"on_error": [ValueError]}, "must map exception classes"),
    ({"on_error": {"ValueError": None}}, "must be an exception class"),
    ({"function": lambda event: None}, "Give one with @bus.on"),
    ({"name": "no-dash"}, "letters, digits and _"),
    ({"name": "x" * 248}, "256 characters, at most 255"),
]


@pytest.mark.parametrize(
    ("options", "remedy"), BAD, ids=[re.sub(" at 0x[0-9a-f]+", "", str(o)) for o, _ in BAD]
)
def test_a_bad_option_is_refused_with_the_remedy(options: dict[str, Any], remedy: str) -> None:
    with pytest.raises(SubscriptionError, match=remedy):
        made(**options)


@pytest.mark.parametrize("patterns", [(), ("order..placed",), ("",), ("order.pl*",)])
def test_a_bad_pattern_is_refused_and_the_handler_named(patterns: tuple[str, ...]) -> None:
    with pytest.raises(SubscriptionError, match=r"@bus\.on for billing\.charge"):
        make_handler(charge, patterns, service="billing")


def test_people_see_the_options_that_matter() -> None:
    handler = made(retries=3, rate_limit="2/s", on_error={ValueError: RetryPolicy(retries=9)})
    assert {"retries": "3", "rate": "2/s"} == handler.describe_options()


def test_a_time_to_start_at_needs_its_zone_only() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    assert made(start=at).start == at
