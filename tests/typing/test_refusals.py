"""Errors that type checkers must report: `mypy --strict` refuses an unused ignore."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from celeriac import Event, EventBus
from celeriac.testing import make_event

bus = EventBus(service="billing")


@dataclass
class OrderPlaced:
    number: int


@bus.on("order.placed")
def charge(event: Event[OrderPlaced]) -> None: ...


if TYPE_CHECKING:
    charge("order.placed")  # type: ignore[arg-type]
    charge(make_event("order.placed", 1))  # type: ignore[arg-type]
    total = make_event("order.placed", OrderPlaced(1)).data.total  # type: ignore[attr-defined]
    bus.emit("order.placed", subjct="order/1")  # type: ignore[arg-type]
    bus.emit("order.placed", delay="soon")  # type: ignore[arg-type]
    bus.on("order.placed", retries="many")  # type: ignore[arg-type]
    bus.on("order.placed", start="yesterday")  # type: ignore[arg-type]
    bus.on(3)  # type: ignore[arg-type]


def test_at_run_time_it_is_a_function_all_the_same() -> None:
    charge(make_event("order.placed", OrderPlaced(1)))
