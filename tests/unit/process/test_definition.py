"""A wrong process is refused at import, with the remedy."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Generic, TypeVar

import msgspec
import pytest
from sqlalchemy import create_engine

from celeriac import Event, EventBus, SubscriptionError
from celeriac.contract import contract
from celeriac.process import Process, on, reminded, starts

INBOX = create_engine("sqlite://")


class State(msgspec.Struct):
    cents: int = 0


class NoDefault(msgspec.Struct):
    cents: int


def made(state: Any = State, options: dict[str, Any] | None = None, **methods: Any) -> Any:
    """Return a process with these methods, and one that starts it."""

    def begun(self: Any, event: Event) -> None: ...

    members = {"begun": starts("order.placed")(begun), **methods}
    return type("Made", (Process,), {"__orig_bases__": (Process[state],), **members},
                **{"inbox": INBOX, **(options or {})})  # fmt: skip


def no_event() -> Callable[..., object]:
    """Return a new function each time: decorators mark it."""

    def method(self: Any) -> None: ...

    return method


def takes_event() -> Callable[..., object]:
    def method(self: Any, event: Event) -> None: ...

    return method


def coroutine() -> Callable[..., object]:
    async def method(self: Any, event: Event) -> None: ...

    return method


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: made(options={"key": "id"}), "key='id' does not group events"),
        (lambda: made(options={"missing": "fail"}), "missing='fail': must be 'wait'"),
        (lambda: made(options={"wait": -1}), "wait=-1: must be a timedelta"),
        (lambda: made(options={"wait": math.inf}), "wait=inf: must be a timedelta"),
        (lambda: made(options={"keep": math.inf}), "keep=inf: must be a timedelta"),
        (lambda: made(options={"wait": timedelta.max}), "from 0 to 315360000 seconds"),
        (lambda: made(options={"keep": "30d"}), "keep='30d': must be a timedelta"),
        (lambda: made(NoDefault), "Give each field a default"),
        (lambda: made(begun=None), "no method starts an instance"),
        (lambda: made(paid=on()(takes_event())), "paid names no event type"),
        (lambda: made(paid=on("a b")(takes_event())), "a b"),
        (lambda: made(paid=on("order.paid")(no_event())), "cannot take an event"),
        (lambda: made(paid=on("order.paid")(coroutine())), "is a coroutine function"),
        (lambda: made(paid=on("process.reminded")(takes_event())), "Use @reminded"),
        (
            lambda: made(a=reminded("late")(no_event()), b=reminded("late")(no_event())),
            "another method has @reminded('late')",
        ),
        (lambda: made(a=reminded("")(no_event())), "must be a name of at most 100"),
    ],
)
def test_a_wrong_class_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(SubscriptionError) as raised:
        make()
    assert message in str(raised.value)
    assert str(raised.value).startswith("process Made: ")


def test_a_process_without_the_type_of_its_state_is_refused() -> None:
    with pytest.raises(SubscriptionError, match=r"Write class Plain\(Process\[State\]"):

        class Plain(Process, inbox=INBOX):  # type: ignore[type-arg]
            @starts("order.placed")
            def begun(self, event: Event) -> None: ...


def test_a_state_with_several_contracts_is_refused() -> None:
    @contract("test_definition.one")
    @contract("test_definition.two")
    class Both(msgspec.Struct):
        cents: int = 0

    with pytest.raises(SubscriptionError, match="the contract of several types"):
        made(Both)


@pytest.mark.parametrize(
    ("process", "options", "message"),
    [
        (State, {}, "must be a subclass of Process"),
        (Process, {}, "has no inbox"),
        (made(), {"batch": 10}, "a process cannot have batch="),
        (made(), {"name": "other"}, "a process cannot have name="),
        (made(), {"retries": -1}, "retries=-1"),
        (made(options={"inbox": "sqlite://"}), {}, "inbox='sqlite://': must be a sessionmaker"),
    ],
)
def test_a_wrong_registration_is_refused(
    bus: EventBus, process: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(SubscriptionError) as raised:
        bus.process(process, **options)
    assert message in str(raised.value)


def test_a_process_is_an_ordinary_handler(bus: EventBus) -> None:
    class HTTPOrderFlow(Process[State], inbox=INBOX):
        """Follows an order."""

        @starts("order.placed")
        def begun(self, event: Event) -> None: ...

        @on("payment.#")
        def paid(self, event: Event) -> None: ...

        @reminded("late")
        def late(self) -> None: ...

    assert bus.process(HTTPOrderFlow, retries=2, queue="slow", ordered=True) is HTTPOrderFlow
    handler = bus.service.handlers["billing.http_order_flow"]
    assert handler.patterns == (
        "order.placed", "payment.#", "process.reminded", "process.abort_requested",
    )  # fmt: skip
    assert (handler.doc, handler.queue, handler.ordered) == ("Follows an order.", "slow", True)
    assert handler.describe_options() == {
        "retries": "2", "ordered": "True", "inbox": "True", "process": "subject",
    }  # fmt: skip


def test_a_base_class_without_an_inbox_shares_methods(bus: EventBus) -> None:
    S = TypeVar("S")

    class Base(Process[S], Generic[S]):
        @starts("order.placed")
        def begun(self, event: Event) -> None: ...

    class Derived(Base[State], Process[State], inbox=INBOX, name="other"):
        pass

    bus.process(Derived)
    assert "billing.other" in bus.service.handlers
