from __future__ import annotations

import io

import pytest
from rich.console import Console

from devtools.demo.failures import Failure
from devtools.demo.fulfilment import OrderCounts
from devtools.demo.screen import Screen, curve, line, page
from devtools.demo.watch import HandlerRow, View

ROWS = [
    HandlerRow("analytics.count_events", 9, 446, 0, 131_300, 0, 0, 172, 31.3),
    HandlerRow("billing.charge_card", 91, 15, 3, 15_600, 310, 31, 17_700, 12.0),
    HandlerRow("billing.refund_payment", 0, 0, 0, 3_270, 0, 0, 1_700, 1.0),
    HandlerRow("notifications.send_mail", 400, 29, 0, 25_300, 0, 0, 14_700, 21.0),
    HandlerRow("orders.fulfilment", 12, 2, 4, 72_100, 1, 0, 4_100, 80.0),
    HandlerRow("shipping.release_stock", 0, 0, 0, 1_800, 0, 0, 900, 1.0),
    HandlerRow("shipping.reserve_stock", 1, 1, 0, 20_300, 0, 0, 800, 20.0),
    HandlerRow("shipping.send_parcel", 0, 1, 0, 19_200, 0, 0, 700, 20.0),
]
ORDERS = OrderCounts(open=412, completed=18_100, aborted=3_270, outbox=2)
VIEW = View(21_800, 76_800, ROWS, (1.0, 50.0, 99.0), ORDERS)
FAILURE = Failure(
    "07:24:14", "billing.charge_card", 1, "retry in 560 ms", "GatewayDown: payments.example.com"
)
PLACES = [
    ("Flower", "http://demo:4f9a01@127.0.0.1:5555"),
    ("Valkey 9.1.2", "redis://127.0.0.1:41234/0"),
    ("In another terminal", ". /tmp/celeriac-demo-nk92zu7f/env"),
    ("Keys", "f repairs the payment gateway; q ends the demo"),
]


def drawn(width: int, missing: int | None = 0) -> list[str]:
    console = Console(width=width, file=io.StringIO())
    with console.capture() as captured:
        console.print(page(VIEW, missing, [FAILURE] * 9, PLACES, 83, width))
    return captured.get().splitlines()


@pytest.mark.parametrize("width", [80, 100, 120])
def test_it_fits_the_terminal(width: int) -> None:
    """In width and in the height of the smallest one, and no name or number is cut."""
    lines = drawn(width)
    assert len(lines) <= 24
    assert all(len(one) <= width for one in lines)
    text = "\n".join(lines)
    assert all(row.handler in text and f"{row.processed:,}" in text for row in ROWS)
    assert "http://demo:4f9a01@127.0.0.1:5555" in text and "retry in 560 ms" in text
    assert "18,100 completed, 3,270 aborted" in text


def test_the_curve_is_there_only_where_there_is_room() -> None:
    assert "99 a second" in "\n".join(drawn(120))
    assert "a second" not in "\n".join(drawn(80))


def test_what_was_not_counted_yet_is_not_called_zero() -> None:
    assert "…" in "\n".join(drawn(80, missing=None))
    assert "… missing, 18,100 completed" in line(VIEW, None)


def test_a_curve_is_as_high_as_its_highest() -> None:
    assert curve([0, 3, 7], 10) == " ▃▇"
    assert curve([1, 2, 4], 2) == "▄▇"
    assert curve([0, 0], 10) == curve([], 10) == ""


def test_without_a_terminal_it_writes_plain_lines_to_stderr(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Screen(lambda: PLACES, Console(file=io.StringIO())) as screen:
        screen.report("waiting for billing")
        screen.show(VIEW, 0, [])
    said = capsys.readouterr()
    addresses = [f"demo: {name}: {where}" for name, where in PLACES]
    assert ("", [*addresses, "demo: waiting for billing"]) == (said.out, said.err.splitlines())
