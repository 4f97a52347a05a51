"""Middleware: which hooks run around emit and around attempts, in which order, and what their
exceptions do."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from msgspec.structs import replace

from celeriac import (
    Attempt,
    BusUnavailable,
    ConfigurationError,
    Event,
    EventBus,
    InvalidEvent,
    Middleware,
    Reject,
)
from celeriac.testing import in_memory


class Recorder(Middleware):
    """Record each hook with its name."""

    def __init__(self, name: str, hooks: list[str]) -> None:
        self.name, self.hooks = name, hooks

    def before_emit(self, event: Event[Any]) -> Event[Any]:
        self.hooks.append(f"{self.name} before_emit {event.type}")
        return event

    def after_emit(self, event: Event[Any]) -> None:
        self.hooks.append(f"{self.name} after_emit {event.type}")

    def emit_failed(self, event: Event[Any], error: BaseException) -> None:
        self.hooks.append(f"{self.name} emit_failed {type(error).__name__}")

    def before_attempt(self, attempt: Attempt) -> None:
        self.hooks.append(f"{self.name} before_attempt {attempt.number}")

    def after_attempt(self, attempt: Attempt) -> None:
        self.hooks.append(f"{self.name} after_attempt {attempt.outcome}")

    def attempt_failed(self, attempt: Attempt) -> None:
        self.hooks.append(f"{self.name} attempt_failed {attempt.outcome} {attempt.error!r}")


def make_bus(*middleware: Middleware) -> EventBus:
    return EventBus(service="billing", redis_url="redis://127.0.0.1:1/0", middleware=middleware)


def test_before_hooks_run_in_order_and_the_others_in_reverse() -> None:
    hooks: list[str] = []
    bus = make_bus(Recorder("a", hooks), Recorder("b", hooks))

    @bus.on("order.placed")
    def charge(event: Event[int]) -> None:
        hooks.append("charge")

    with in_memory(bus) as memory:
        bus.emit("order.placed", 1)
        memory.run_until_idle()
    assert hooks == [
        "a before_emit order.placed",
        "b before_emit order.placed",
        "b after_emit order.placed",
        "a after_emit order.placed",
        "a before_attempt 1",
        "b before_attempt 1",
        "charge",
        "b after_attempt processed",
        "a after_attempt processed",
    ]


def test_a_failed_attempt_is_reported_with_what_follows() -> None:
    hooks: list[str] = []
    bus = make_bus(Recorder("a", hooks))

    @bus.on("order.placed", retries=1)
    def charge(event: Event[int]) -> None:
        raise ConnectionError("down")

    with in_memory(bus) as memory:
        bus.emit("order.placed", 1)
        memory.run_until_idle()
        assert len(memory.dead) == 1
    assert hooks[2:] == [
        "a before_attempt 1",
        "a attempt_failed retry ConnectionError('down')",
        "a before_attempt 2",
        "a attempt_failed dead ConnectionError('down')",
    ]


def test_hooks_of_a_batch_get_all_of_its_events() -> None:
    attempts: list[Attempt] = []

    class Keep(Middleware):
        def after_attempt(self, attempt: Attempt) -> None:
            attempts.append(attempt)

    bus = make_bus(Keep())

    @bus.on("order.placed", batch=10)
    def charge(events: list[Event[int]]) -> None: ...

    with in_memory(bus) as memory:
        assert bus.emit_many([("order.placed", n) for n in range(3)]) == 3
        memory.run_until_idle()
    [attempt] = attempts
    assert attempt.is_batch
    assert [event.data for event in attempt.events] == [0, 1, 2]
    assert attempt.handler == "billing.charge"


def test_a_changed_event_is_what_is_appended() -> None:
    class Tenant(Middleware):
        def before_emit(self, event: Event[Any]) -> Event[Any]:
            return replace(event, subject="tenant/1")

    bus = make_bus(Tenant())
    with in_memory(bus) as memory:
        bus.emit("order.placed", 1)
        bus.emit_many([("order.placed", 2), bus.event("order.placed", 3)])
        assert [event.subject for event in memory.emitted] == ["tenant/1"] * 3


@pytest.mark.parametrize("asynchronous", [False, True], ids=["emit", "aemit"])
def test_an_event_that_middleware_made_invalid_is_refused(asynchronous: bool) -> None:
    class Tagging(Middleware):
        def before_emit(self, event: Event[Any]) -> Event[Any]:
            return replace(event, subject="")

    bus = make_bus(Tagging())
    with in_memory(bus) as memory:
        with pytest.raises(InvalidEvent, match="subject"):
            asyncio.run(bus.aemit("order.placed")) if asynchronous else bus.emit("order.placed")
        assert memory.store.event_log.length("order") == 0


def test_emit_returns_the_id_that_middleware_gave() -> None:
    class Prefix(Middleware):
        def before_emit(self, event: Event[Any]) -> Event[Any]:
            return replace(event, id="fixed")

    bus = make_bus(Prefix())
    with in_memory(bus) as memory:
        assert bus.emit("order.placed", 1) == "fixed"
        assert bus.emit("order.placed", 2) == "fixed"
        assert memory.store.event_log.length("order") == 1, "a given id is one event"


def test_an_exception_before_emit_reaches_the_caller_and_nothing_is_appended() -> None:
    class Refuse(Middleware):
        def before_emit(self, event: Event[Any]) -> Event[Any]:
            raise PermissionError(event.type)

    bus = make_bus(Refuse())
    with in_memory(bus) as memory:
        with pytest.raises(PermissionError, match=r"order\.placed"):
            bus.emit("order.placed", 1)
        assert len(memory.emitted) == 0


def test_an_event_that_was_not_appended_is_reported() -> None:
    hooks: list[str] = []
    bus = EventBus(
        service="billing",
        redis_url="redis://127.0.0.1:1/0",
        emit_timeout=0.01,
        middleware=[Recorder("a", hooks)],
    )
    with pytest.raises(BusUnavailable):
        bus.emit("order.placed", 1)
    with pytest.raises(BusUnavailable):
        bus.emit_many([("order.placed", 1)])
    assert hooks == ["a before_emit order.placed", "a emit_failed BusUnavailable"] * 2


def test_aemit_and_aemit_many_run_the_same_hooks() -> None:
    hooks: list[str] = []
    bus = make_bus(Recorder("a", hooks))

    async def emit() -> None:
        await bus.aemit("order.placed", 1)
        await bus.aemit_many([("order.paid", 2)])

    with in_memory(bus) as memory:
        asyncio.run(emit())
        assert len(memory.emitted) == 2
    assert hooks == [
        "a before_emit order.placed",
        "a after_emit order.placed",
        "a before_emit order.paid",
        "a after_emit order.paid",
    ]


def test_an_exception_before_the_attempt_fails_it_and_the_handler_does_not_run() -> None:
    class Closed(Middleware):
        def before_attempt(self, attempt: Attempt) -> None:
            raise Reject("closed")

    ran: list[int] = []
    bus = make_bus(Closed())

    @bus.on("order.placed")
    def charge(event: Event[int]) -> None:
        ran.append(event.data)

    with in_memory(bus) as memory:
        bus.emit("order.placed", 1)
        memory.run_until_idle()
        [dead] = memory.dead
    assert dead.error.startswith("Reject")
    assert ran == []


def test_an_exception_after_the_attempt_fails_it() -> None:
    class Audit(Middleware):
        def after_attempt(self, attempt: Attempt) -> None:
            raise OSError("audit is down")

    bus = make_bus(Audit())

    @bus.on("order.placed", retries=0)
    def charge(event: Event[int]) -> None: ...

    with in_memory(bus) as memory:
        bus.emit("order.placed", 1)
        memory.run_until_idle()
        assert "audit is down" in memory.dead[0].error


def test_an_exception_after_a_failure_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Middleware):
        def attempt_failed(self, attempt: Attempt) -> None:
            raise OSError("no alert")

    bus = make_bus(Broken())

    @bus.on("order.placed", retries=0)
    def charge(event: Event[int]) -> None:
        raise ConnectionError("down")

    with in_memory(bus) as memory, caplog.at_level(logging.ERROR):
        bus.emit("order.placed", 1)
        memory.run_until_idle()
        assert "ConnectionError: down" in memory.dead[0].error
    assert "Broken.attempt_failed of the middleware failed" in caplog.text


def test_hooks_of_attempts_may_be_coroutine_functions() -> None:
    hooks: list[str] = []

    class Asynchronous(Middleware):
        async def before_attempt(self, attempt: Attempt) -> None:
            await asyncio.sleep(0)
            hooks.append("before")

        async def after_attempt(self, attempt: Attempt) -> None:
            hooks.append("after")

    bus = make_bus(Asynchronous())

    @bus.on("order.placed")
    async def charge(event: Event[int]) -> None:
        hooks.append("charge")

    with in_memory(bus) as memory:
        bus.emit("order.placed", 1)
        memory.run_until_idle()
    assert hooks == ["before", "charge", "after"]


def test_around_hooks_enclose_the_others() -> None:
    hooks: list[str] = []

    class Around(Recorder):
        @contextmanager
        def around_attempt(self, attempt: Attempt) -> Iterator[None]:
            hooks.append("enter")
            yield
            hooks.append(f"leave {attempt.outcome}")

    bus = make_bus(Around("a", hooks))

    @bus.on("order.placed")
    def charge(event: Event[int]) -> None: ...

    with in_memory(bus) as memory:
        bus.emit("order.placed", 1)
        memory.run_until_idle()
    assert hooks[2:] == [
        "enter",
        "a before_attempt 1",
        "a after_attempt processed",
        "leave processed",
    ]


def test_the_error_of_an_attempt_has_no_sensitive_value() -> None:
    errors: list[str] = []

    class Keep(Middleware):
        def attempt_failed(self, attempt: Attempt) -> None:
            errors.append(str(attempt.error))

    bus = make_bus(Keep())

    @bus.on("order.placed", retries=0)
    def charge(event: Event[dict[str, str]]) -> None:
        raise ValueError(f"bad card {event.data['card']}")

    with in_memory(bus) as memory:
        bus.emit("order.placed", {"card": "4111111111111111"}, sensitive=["card"])
        memory.run_until_idle()
    assert len(errors) == 1
    assert "4111111111111111" not in errors[0]


def test_what_is_no_middleware_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"EventBus\(middleware=\.\.\.\): <function"):
        make_bus(lambda event: event)  # type: ignore[arg-type]


def test_a_second_bus_of_an_app_takes_no_middleware() -> None:
    first = make_bus()
    with pytest.raises(ConfigurationError, match="Give the middleware to that one"):
        EventBus(
            first.app,
            service="billing",
            redis_url="redis://127.0.0.1:1/0",
            middleware=[Middleware()],
        )
