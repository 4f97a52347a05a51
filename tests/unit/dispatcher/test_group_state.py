"""Which handlers need a record for each delivery, and when a group is polled again."""

from __future__ import annotations

import math
from typing import Any

import pytest

from celeriac import Breaker, Event
from celeriac.delivery import Delivery, FetchRequest, FetchResult, Group
from celeriac.delivery.fetch_size import DRAIN
from celeriac.dispatcher.group_state import InFlight, ReadEntry, is_plain, until_pending
from celeriac.dispatcher.poll_interval import BUSY, IDLE, until_slots
from celeriac.event_log import Entry
from celeriac.handler import HandlerOptions, make_handler
from tests.unit.dispatcher.groups import make_group

GROUP = Group("order", "billing.charge")


def handle(event: Event) -> None: ...


@pytest.mark.parametrize(
    ("options", "plain"),
    [
        ({}, True),
        ({"priority": 3, "retries": 2, "when": lambda event: True}, True),
        ({"ordered": True}, False),
        ({"concurrency": 1}, False),
        ({"rate_limit": "1/s"}, False),
        ({"breaker": Breaker()}, False),
        ({"time_limit": 1.0}, False),
        ({"soft_time_limit": 1.0}, False),
    ],
    ids=lambda given: next(iter(given), "none") if isinstance(given, dict) else "",
)
def test_a_handler_is_plain_without_order_limits_and_breaker(
    options: dict[str, Any], plain: bool
) -> None:
    handler = make_handler(handle, ("order.placed",), HandlerOptions(**options), service="billing")
    assert plain is is_plain(handler)


def fetched(count: int, queued: int = 0, due_in_ms: int | None = None) -> FetchResult:
    deliveries = tuple(Delivery(f"{n}-0", b"{}", 0) for n in range(count))
    due = None if due_in_ms is None else 1000 + due_in_ms
    return FetchResult(deliveries=deliveries, queued=queued, next_due_ms=due, now_ms=1000)


@pytest.mark.parametrize(
    ("result", "seconds"),
    [
        # as many as requested: more may be due
        (fetched(10), BUSY),
        (fetched(4, queued=6, due_in_ms=5000), BUSY),
        # fewer: none is due before the next one that is scheduled
        (fetched(9), math.inf),
        (fetched(3, queued=6), math.inf),
        (fetched(0), math.inf),
        (fetched(9, due_in_ms=5000), 5.0),
        (fetched(0, due_in_ms=5000), 5.0),
        (fetched(0, due_in_ms=-5000), BUSY),
        # nothing was fetched because the worker has queued all that it may: completions wake
        (fetched(0, queued=10), math.inf),
        (fetched(0, queued=12, due_in_ms=250), 0.25),
    ],
)
def test_pending_deliveries_are_fetched_again(result: FetchResult, seconds: float) -> None:
    assert seconds == until_pending(FetchRequest(GROUP, 10), result)


@pytest.mark.parametrize(
    ("backlog", "open_chunks", "mean_us", "seconds"),
    [
        (False, 8, 1_000_000, BUSY),
        (True, 8, 100, until_slots(8 * int(DRAIN * 1e6), 4)),
        (True, 8, 150_000, until_slots(8 * 150_000, 4)),
        (True, 80, 10_000_000, IDLE),
    ],
)
def test_a_chunk_slot_is_free_when_a_task_has_drained_its_part_of_the_backlog(
    backlog: bool, open_chunks: int, mean_us: int, seconds: float
) -> None:
    state = make_group("order")
    state.has_backlog, state.open_chunks, state.mean_us = backlog, open_chunks, mean_us
    assert seconds == state.until_slots(4)


def test_deliveries_in_flight_are_counted_in_all_workers_and_here() -> None:
    in_flight = InFlight(5, 2)
    in_flight.add(-2, 1)
    assert InFlight(3, 3) == in_flight


def test_a_group_that_reads_separately_keeps_its_position_and_no_prefetched_entry() -> None:
    state = make_group("order")
    state.is_shared, state.position = True, "3-0"
    state.prefetched.append(ReadEntry(1, "3-0", Entry("4-0", b"{}")))
    state.read_separately()
    assert (False, "3-0", 0) == (state.is_shared, state.position, len(state.prefetched))
