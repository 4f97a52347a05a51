"""An unknown argument is refused with its replacement."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from celeriac import EventBus, InvalidEvent, SubscriptionError

WRONG_OPTIONS = {
    "max_retries": "Use retries=",
    "autoretry_for": "every exception is retried",
    "bind": "current_event",
    "retry": "Did you mean retries=?",
    "nothing_like_it": "Its arguments are backoff, batch, breaker, broadcast, concurrency",
}
WRONG_ATTRIBUTES = {
    "countdown": "Use delay=, in seconds",
    "eta": "Use at=",
    "queue": "Set it in the handler",
    "subjekt": "Did you mean subject=?",
    "nothing_like_it": "Its arguments are at, causationid",
}


@pytest.fixture
def bus() -> EventBus:
    return EventBus(service="shop", redis_url="redis://127.0.0.1:1/0")


@pytest.mark.parametrize(("name", "remedy"), WRONG_OPTIONS.items())
def test_an_option_of_on(bus: EventBus, name: str, remedy: str) -> None:
    with pytest.raises(SubscriptionError) as raised:
        bus.on("order.placed", **{name: 3})  # type: ignore[arg-type]
    assert str(raised.value).startswith(f"@bus.on has no argument {name!r}. ")
    assert remedy in str(raised.value)


@pytest.mark.parametrize(("name", "remedy"), WRONG_ATTRIBUTES.items())
def test_an_argument_of_emit(bus: EventBus, name: str, remedy: str) -> None:
    wrong: dict[str, Any] = {name: 3}
    for call in (
        lambda: bus.emit("order.placed", {}, **wrong),
        lambda: asyncio.run(bus.aemit("order.placed", {}, **wrong)),
        lambda: bus.event("order.placed", {}, **wrong),
        lambda: bus.request("order.placed", {}, **wrong),
        lambda: bus.emit_many([{"type": "order.placed", **wrong}]),
    ):
        with pytest.raises(InvalidEvent) as raised:
            call()
        assert str(raised.value).startswith(f"emit has no argument {name!r}. ")
        assert remedy in str(raised.value)
