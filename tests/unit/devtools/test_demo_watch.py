from __future__ import annotations

from typing import Any

import pytest

from celeriac.tracking import HandlerLag
from devtools.demo.fulfilment import OrderCounts
from devtools.demo.watch import HandlerRow, View, by_handler


def lag(handler: str, domain: str, **numbers: Any) -> HandlerLag:
    zeros: dict[str, Any] = dict.fromkeys(
        ("waiting", "queued", "running", "scheduled", "blocked", "dead", "processed", "retried"), 0
    )
    rest: dict[str, Any] = {"skipped": 0, "failed": 0, "mean_us": 0, "oldest_s": None}
    return HandlerLag(
        handler=handler,
        service=handler.partition(".")[0],
        domain=domain,
        joined=True,
        registered=True,
        **{**zeros, **rest, **numbers},
    )


def test_the_domains_of_a_handler_are_one_row() -> None:
    rows = list(
        by_handler(
            [
                lag("b.x", "order", waiting=2, queued=1, processed=30, mean_us=100),
                lag("b.x", "payment", running=1, blocked=1, scheduled=4, processed=10, mean_us=500),
                lag("a.y", "order", dead=1, retried=3),
            ]
        )
    )
    assert rows == [
        HandlerRow("a.y", 0, 0, 0, 0, 3, 1, 0),
        HandlerRow("b.x", 2, 3, 4, 40, 0, 0, 200),
    ]


def test_a_view_sums_its_rows_and_shows_the_next_step() -> None:
    view = View(
        5,
        9,
        [HandlerRow("a.y", 0, 0, 0, 7, 3, 1, 0), HandlerRow("b.x", 2, 3, 4, 40, 0, 0, 9)],
        (),
        OrderCounts(),
    )
    assert (view.processed, view.retried, view.dead, view.unfinished) == (47, 3, 1, 9)
    assert view.to_do() == (
        "b.x has 2 waiting, 3 in flight, 4 scheduled, 0 completed, 0 aborted, 0 open"
    )


@pytest.mark.parametrize(
    ("row", "orders", "is_finished"),
    [
        (HandlerRow("a.y", 0, 0, 0, 7, 3, 1, 0), OrderCounts(completed=2, aborted=1), True),
        (HandlerRow("a.y", 1, 0, 0, 7, 3, 1, 0), OrderCounts(completed=2, aborted=1), False),
        (HandlerRow("a.y", 0, 0, 0, 7, 3, 1, 0), OrderCounts(completed=2, open=1), False),
        (HandlerRow("a.y", 0, 0, 0, 7, 3, 1, 0), OrderCounts(completed=3, outbox=1), False),
    ],
    ids=["finished", "delivery", "open order", "outbox"],
)
def test_it_is_finished_after_deliveries_deadlines_and_outbox(
    row: HandlerRow, orders: OrderCounts, is_finished: bool
) -> None:
    assert View(3, 9, [row], (), orders).is_finished is is_finished
