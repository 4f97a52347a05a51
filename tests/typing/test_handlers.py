"""Typing of a user's handlers. Checked by mypy and pyright; it also runs."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, assert_type

from pydantic import BaseModel

from celeriac import Event, EventBus, Reject, Retry, RetryPolicy, current_event

bus = EventBus(service="billing")


@dataclass
class OrderPlaced:
    number: int
    email: str | None = None


class Metric(BaseModel):
    name: str


@bus.on("order.placed", "order.amended", retries=8, on_error={ValueError: None})
def charge(event: Event[OrderPlaced]) -> str:
    assert_type(event.data, OrderPlaced)
    assert_type(event.data.email, str | None)
    assert_type(event.subject, str | None)
    if event.data.number < 0:
        raise Reject("no such order")
    if event.data.number == 0:
        raise Retry(after=30)
    return f"charged {event.data.number}"


@bus.on("metric.#", batch=500, on_error={OSError: RetryPolicy(retries=1)})
async def store(events: list[Event[Metric]]) -> None:
    assert_type(events[0].data, Metric)


@bus.on("#", when=lambda event: event.subject is not None, start="beginning")
def audit(event: Event) -> None:
    assert_type(event.data, Any)


@bus.on("audit.#", batch=10)
def archive(events: Sequence[Event[dict[str, int]]]) -> None:
    assert_type(events[0].data["n"], int)


def test_the_decorator_keeps_the_type_of_a_function() -> None:
    plain: Callable[[Event[OrderPlaced]], str] = charge
    coroutine: Callable[[list[Event[Metric]]], Coroutine[Any, Any, None]] = store
    assert (plain, coroutine) == (charge, store)


def test_a_handler_returns_its_declared_type() -> None:
    event: Event[OrderPlaced] = Event(id="1", source="s", type="t", data=OrderPlaced(1))
    assert_type(charge(event), str)
    assert "charged 1" == charge(event)


def test_the_current_event_may_be_none() -> None:
    assert_type(current_event(), Event[Any] | None)
    assert current_event() is None
