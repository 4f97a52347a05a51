from __future__ import annotations

import json
from dataclasses import replace

import pytest
from rich.console import Console

from celeriac.process import Status
from celeriac.tracking import Totals
from devtools.demo.accounts import Account
from devtools.demo.fulfilment import OrderCounts, OrderStory
from devtools.demo.summary import Summary
from devtools.demo.watch import HandlerRow, View

TOTALS = Totals(
    emitted=290,
    repeated=0,
    delayed=0,
    invalid=0,
    expected=696,
    waiting=0,
    in_flight=0,
    processed=695,
    skipped=0,
    dead=1,
    missing=0,
    forgotten=0,
    retried=6,
)
GOOD = Summary(
    view=View(
        60,
        290,
        [
            HandlerRow("billing.charge_card", 0, 0, 0, 59, 12, 1, 4300),
            HandlerRow("billing.refund_payment", 0, 0, 0, 9, 0, 0, 900),
        ],
        (),
        OrderCounts(completed=51, aborted=9),
    ),
    totals=TOTALS,
    expected_dead=1,
    seconds=2.5,
    finished=True,
    flower="http://127.0.0.1:5555",
    aborted={"item unavailable: sold out": 8, "not paid in time": 1},
    examples=[
        OrderStory("order/1", Status.COMPLETED, "", [("shipment.sent", ["order.completed"])]),
        OrderStory(
            "order/19",
            Status.ABORTED,
            "item unavailable: damaged",
            [
                (
                    "shipment.failed",
                    ["stock.release_requested", "payment.refund_requested", "order.cancelled"],
                )
            ],
        ),
    ],
    accounts=[Account("payments", "billing.refund_payment", 51, 5, 4)],
)


def totals(**changed: int) -> Totals:
    import msgspec

    return msgspec.structs.replace(TOTALS, **changed)


def test_all_accounted_for_is_no_fault() -> None:
    assert GOOD.faults() == []


@pytest.mark.parametrize(
    ("summary", "fault"),
    [
        (
            replace(GOOD, accounts=[Account("payments", "billing.refund_payment", 52, 5, 4)]),
            "52 payments for 51 completed orders",
        ),
        (replace(GOOD, totals=totals(missing=2)), "2 deliveries are missing"),
        (replace(GOOD, totals=totals(in_flight=3, waiting=1)), "4 are not finished"),
        (replace(GOOD, totals=totals(dead=5)), "5 are dead instead of 1"),
    ],
)
def test_what_is_not_accounted_for_is(summary: Summary, fault: str) -> None:
    assert summary.faults() == [fault]


def test_what_is_under_way_at_ctrl_c_is_no_fault() -> None:
    under_way = [Account("payments", "billing.refund_payment", 54, 5, 3)]
    stopped = replace(GOOD, finished=False, totals=totals(in_flight=3, dead=0), accounts=under_way)
    assert stopped.faults() == []


def test_open_orders_are_named_at_ctrl_c() -> None:
    view = replace(GOOD.view, fulfilment=OrderCounts(open=2, completed=51, aborted=7))
    console = Console(width=80)
    with console.capture() as captured:
        console.print(replace(GOOD, finished=False, view=view).render())
    assert "✓ every delivery is accounted for; 2 orders are open" in captured.get()


def test_the_json_is_one_line_with_the_counts() -> None:
    text = GOOD.json()
    assert "\n" not in text
    told = json.loads(text)
    assert told["handlers"] == {
        "billing.charge_card": {"processed": 59, "retried": 12, "dead": 1, "mean_us": 4300},
        "billing.refund_payment": {"processed": 9, "retried": 0, "dead": 0, "mean_us": 900},
    }
    del told["handlers"]
    assert told == {
        "emitted": 60,
        "events": 290,
        "expected": 696,
        "processed": 695,
        "retried": 12,
        "dead": 1,
        "expected_dead": 1,
        "missing": 0,
        "in_flight": 0,
        "seconds": 2.5,
        "flower": "http://127.0.0.1:5555",
        "orders": {
            "open": 0,
            "completed": 51,
            "aborted": 9,
            "outbox": 0,
            "reasons": {"item unavailable: sold out": 8, "not paid in time": 1},
        },
        "accounts": {
            "payments": {
                "name": "payments",
                "handler": "billing.refund_payment",
                "kept": 51,
                "undone": 5,
                "prevented": 4,
            }
        },
    }


@pytest.mark.parametrize("width", [80, 100])
def test_people_read_the_same(width: int) -> None:
    console = Console(width=width)
    with console.capture() as captured:
        console.print(GOOD.render())
    text = captured.get()
    assert all(len(line) <= width for line in text.splitlines())
    assert "60 orders became 290 events and 696 deliveries in 2.5 s" in text
    assert "billing.charge_card" in text
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "shipment.sent → order.completed" in lines
    assert any(line.startswith("shipment.failed → stock.release_requested") for line in lines)
    assert "completed 51" in lines and "aborted: item unavailable: sold out 8" in lines
    assert "payments 51 5 4" in lines
    assert "✓ every delivery and every undo is accounted for" in text


def test_after_the_repair_redriven_letters_need_not_be_dead() -> None:
    assert [] == replace(GOOD, repaired=True, totals=totals(dead=0)).faults()
    assert ["2 are dead instead of 1"] == replace(
        GOOD, repaired=True, totals=totals(dead=2)
    ).faults()
