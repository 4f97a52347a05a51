from __future__ import annotations

import json
from dataclasses import replace

import pytest
from rich.console import Console

from celeriac.tracking import Totals
from devtools.demo.summary import Summary, duration
from devtools.demo.watch import HandlerRow, View

TOTALS = Totals(
    emitted=290,
    repeated=0,
    postponed=0,
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
    view=View(60, 290, [HandlerRow("billing.charge_card", 0, 0, 0, 59, 12, 1, 4300)], ()),
    totals=TOTALS,
    expected_dead=1,
    seconds=2.5,
    finished=True,
    flower="http://127.0.0.1:5555",
)


def totals(**changed: int) -> Totals:
    import msgspec

    return msgspec.structs.replace(TOTALS, **changed)


def test_all_accounted_for_is_no_fault() -> None:
    assert GOOD.faults() == []


@pytest.mark.parametrize(
    ("summary", "fault"),
    [
        (replace(GOOD, totals=totals(missing=2)), "2 deliveries are missing"),
        (replace(GOOD, totals=totals(in_flight=3, waiting=1)), "4 are not finished"),
        (replace(GOOD, totals=totals(dead=5)), "5 are dead instead of 1"),
    ],
)
def test_what_is_not_accounted_for_is(summary: Summary, fault: str) -> None:
    assert summary.faults() == [fault]


def test_what_is_under_way_at_ctrl_c_is_no_fault() -> None:
    stopped = replace(GOOD, finished=False, totals=totals(in_flight=3, dead=0))
    assert stopped.faults() == []


def test_the_json_is_one_line_with_the_counts() -> None:
    text = GOOD.json()
    assert "\n" not in text
    told = json.loads(text)
    assert told["handlers"] == {
        "billing.charge_card": {"processed": 59, "retried": 12, "dead": 1, "mean_us": 4300}
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
    }


def test_people_read_the_same() -> None:
    console = Console(width=80)
    with console.capture() as captured:
        console.print(GOOD.render())
    text = captured.get()
    assert "60 orders became 290 events and 696 deliveries in 2.5 s (278/s)" in text
    assert "billing.charge_card" in text
    assert "✓ every delivery is accounted for" in text


def test_durations_have_the_unit_that_suits_them() -> None:
    assert [duration(us) for us in (0, 90, 4300, 2_500_000)] == ["", "90 µs", "4.3 ms", "2.5 s"]


def test_after_the_repair_redriven_letters_need_not_be_dead() -> None:
    assert [] == replace(GOOD, repaired=True, totals=totals(dead=0)).faults()
    assert ["2 are dead instead of 1"] == replace(
        GOOD, repaired=True, totals=totals(dead=2)
    ).faults()
