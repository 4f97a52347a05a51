"""trace: the tree of causes, with who emitted what and how long it took."""

from __future__ import annotations

import json
from typing import Any

import pytest
from rich.console import Console

from celeriac.cli.trace import draw as drawing
from celeriac.cli.trace.draw import draw
from celeriac.cli.trace.line import lines, span
from celeriac.store.memory.clock import MemoryClock
from celeriac.tracking import Cause, Cell, DeliveryState, Tree
from tests.unit.cli.conftest import Run
from tests.unit.tracking.shop import Shop

TREE = Tree(
    nodes=(
        Cause(
            id="o", key="o", type="order.placed", domain="order", entry="1000-0", time_ms=1000,
            cells=(
                Cell(handler="mail.send", service="mail", state=DeliveryState.PROCESSED,
                     attempts=1, took_us=5_000, at_ms=1010),
                Cell(handler="billing.charge", service="billing", state=DeliveryState.PROCESSED,
                     attempts=2, took_us=20_000, at_ms=2000),
                Cell(handler="stats.count", service="stats", state=DeliveryState.WAITING),
            ),
        ),
        Cause(
            id="p", key="p", type="payment.captured", domain="payment", depth=1,
            entry="1990-0", time_ms=1990, parent="o", handler="billing.charge",
            cells=(
                Cell(handler="ship.pack", service="ship", state=DeliveryState.DEAD,
                     attempts=1, took_us=10_000, at_ms=3000),
            ),
        ),
        Cause(id="n", key="n", type="note.made", domain="note", depth=1, time_ms=1005, parent="o",
              handler="mail.send"),
    )
)  # fmt: skip


def test_events_are_below_the_handler_that_emitted_them() -> None:
    shown = [(f"{x.prefix}{x.cell.handler if x.cell else x.event.id}") for x in lines(TREE)]
    assert [
        "o",
        "├─ mail.send",
        "│  └▶ n",
        "├─ billing.charge",
        "│  └▶ p",
        "│     └─ ship.pack",
        "└─ stats.count",
    ] == shown


def test_times_are_those_after_the_first_event() -> None:
    by_name = {x.cell.handler if x.cell else x.event.id: (x.begin, x.end) for x in lines(TREE)}
    assert {
        "o": (0, None), "mail.send": (5, 10), "n": (5, None), "billing.charge": (980, 1000),
        "p": (990, None), "ship.pack": (1990, 2000), "stats.count": (None, None),
    } == by_name  # fmt: skip
    assert 2000 == span(lines(TREE))


def test_an_event_of_an_unknown_handler_is_shown() -> None:
    tree = Tree(
        nodes=(
            Cause(id="gone", key="gone", type="", domain="", gone=True),
            Cause(id="a", key="a", type="order.placed", domain="order", parent="gone", time_ms=5),
        )
    )
    assert ["gone", "└▶ a"] == [f"{x.prefix}{x.event.id}" for x in lines(tree)]
    assert 0 == span(lines(tree))


def drawn(monkeypatch: pytest.MonkeyPatch, width: int, terminal: bool = True) -> list[str]:
    console = Console(width=width, force_terminal=terminal, color_system=None, record=True)
    monkeypatch.setattr(drawing, "console", lambda: console)
    with console.capture() as captured:
        draw(TREE, "p")
    return captured.get().splitlines()


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_it_fits_any_terminal(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    shown = drawn(monkeypatch, width)
    assert max(map(len, shown)) <= width
    assert ("█" in "".join(shown)) == (width >= 110)
    charge = next(line for line in shown if "billing.charge" in line)
    assert "processed in 2" in charge and "20 ms" in charge and "+1 s" in charge


def test_a_bar_is_at_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("mail.send", "billing.charge", "ship.pack")
    shown = drawn(monkeypatch, 120)
    bars = {name: line[90:] for name in names for line in shown if name in line}
    assert bars["mail.send"].index("█") < bars["billing.charge"].index("█")
    assert bars["billing.charge"].index("█") < bars["ship.pack"].index("█")
    assert "─" in bars["billing.charge"], "it waited before"


def a_chain(shop: Shop, clock: MemoryClock) -> str:
    def charge(event: Any) -> None:
        clock.advance(12)
        shop.emit("payment.captured", {}, id="paid")

    shop.on("billing.charge", "order.placed", function=charge)
    shop.on("ship.pack", "payment.captured")
    shop.start()
    id = shop.emit("order.placed", {"n": 1})
    shop.run_until_idle()
    return id


def test_it_goes_up_to_the_cause_and_down_to_the_effects(
    shop: Shop, run: Run, clock: MemoryClock
) -> None:
    id = a_chain(shop, clock)
    for asked in (id, "paid"):
        answer = run("trace", asked)
        assert 0 == answer.exit_code
        out = answer.out
        assert out.index(id) < out.index("billing.charge") < out.index("paid")
        assert out.index("paid") < out.index("ship.pack")
        assert "2 events, 2 deliveries, 12 ms since" in out


def test_as_json_it_is_the_tree(shop: Shop, run: Run, clock: MemoryClock) -> None:
    id = a_chain(shop, clock)
    [found] = json.loads(run("trace", id, "--json").out)
    assert [id, "paid"] == [node["id"] for node in found["nodes"]]
    first, second = found["nodes"]
    assert (first["key"], "billing.charge") == (second["parent"], second["handler"])


def test_an_unknown_event_ends_with_1(run: Run) -> None:
    answer = run("trace", "nope")
    assert 1 == answer.exit_code
    assert "event not found: nope" in answer.err
