"""How long a dispatcher waits before it asks for a handler again."""

from __future__ import annotations

from typing import Any

import pytest

from celeriac.delivery import Delivery, FetchRequest, FetchResult, Group
from celeriac.dispatcher.poll_interval import (
    BUSY,
    IDLE,
    until,
    until_next_fetch,
    until_share,
    until_slots,
)


def test_it_waits_until_a_quarter_of_what_it_has_is_done() -> None:
    assert 0.1 == until_slots(800_000, processes=2)
    assert BUSY == until_slots(0, processes=2)
    assert IDLE == until_slots(10**9, processes=2)


@pytest.mark.parametrize(("mean_us", "pause"), [(1, BUSY), (2_000_000, 0.04), (10**8, 0.1)])
def test_it_looks_soon_after_a_slow_handler_may_have_ended(mean_us: int, pause: float) -> None:
    assert pause == until_share(mean_us)


@pytest.mark.parametrize(
    ("due_ms", "pause"), [(900, BUSY), (1000, BUSY), (1200, 0.2), (9000, IDLE)]
)
def test_it_waits_until_something_is_due_and_no_longer_than_idle(due_ms: int, pause: float) -> None:
    assert pause == until(due_ms, now_ms=1000)


GROUP = Group("order", "billing.charge")
AT_MOST_TWO = FetchRequest(GROUP, 100, max_in_flight=2)


def taken(count: int = 0, **more: Any) -> FetchResult:
    given = tuple(Delivery(f"{n}-0", b"{}", 0) for n in range(1, count + 1))
    return FetchResult(deliveries=given, now_ms=1000, mean_us=1000, **more)


@pytest.mark.parametrize(
    ("ask", "found", "wanted", "enough", "pause"),
    [
        # nothing is known to come, or it is known when
        (FetchRequest(GROUP, 100), taken(), 0, False, None),
        (FetchRequest(GROUP, 100), taken(3), 3, False, None),
        (FetchRequest(GROUP, 100), taken(next_due_ms=1200), 0, False, 0.2),
        (FetchRequest(GROUP, 100), taken(next_due_ms=900), 0, False, BUSY),
        (FetchRequest(GROUP, 100), taken(next_due_ms=90_000), 0, False, 2.0),
        # it was given all that it asked for: there may be more
        (FetchRequest(GROUP, 100, max_new=10), taken(10), 10, False, 0.0),
        (FetchRequest(GROUP, 100), taken(100), 20, False, 0.0),
        # it holds all that it may
        (FetchRequest(GROUP, 100), taken(100), 100, False, until_slots(100_000, 2)),
        (FetchRequest(GROUP, 100), taken(40, queued=60), 40, False, until_slots(100_000, 2)),
        # delivery tasks enough are under way
        (FetchRequest(GROUP, 0, max_new=0), taken(queued=400), 0, True, until_slots(400_000, 2)),
        (FetchRequest(GROUP, 0, max_new=0), taken(queued=400), 0, False, 0.0),
        # slow handlers hold their share, unless what was given was not wanted
        (
            FetchRequest(GROUP, 100, max_in_flight=2),
            taken(1, in_flight=1),
            1,
            False,
            until_share(1000),
        ),
        (FetchRequest(GROUP, 100, max_in_flight=2), taken(1, in_flight=1), 0, False, 0.0),
    ],
)
def test_when_a_group_is_fetched_again(
    ask: FetchRequest, found: FetchResult, wanted: int, enough: bool, pause: float | None
) -> None:
    assert pause == until_next_fetch(ask, found, wanted, enough, processes=2, longest=2.0)
