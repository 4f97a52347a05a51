"""The bus of a service: accepted arguments, and the errors for others."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
from celery import Celery
from sqlalchemy import create_engine

import celeriac
from celeriac import (
    ConfigurationError,
    Event,
    EventBus,
    InvalidData,
    InvalidEvent,
    SubscriptionError,
    default_bus,
    set_default_bus,
)
from celeriac.testing.store import Store


@dataclass
class Order:
    number: int


def test_on_returns_the_function_itself(bus: EventBus) -> None:
    def charge(event: Event) -> None: ...

    assert charge is bus.on("order.placed")(charge)
    assert "EventBus('billing', handlers=['billing.charge'])" == repr(bus)


def test_a_bus_without_a_service_only_emits(store: Store) -> None:
    bus = EventBus()
    bus.emit("order.placed", id="a")
    with pytest.raises(SubscriptionError, match=r"EventBus\(service='billing'\)"):
        bus.on("order.placed")(lambda event: None)


def test_the_service_is_the_app_s_own_name_where_none_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = Celery("shop", broker="memory://", set_as_current=False)
    assert "shop" == EventBus(app).settings.service
    monkeypatch.setenv("CELERIAC_SERVICE", "billing")
    assert "billing" == EventBus(app).settings.service


def test_buses_of_one_service_on_one_app_share_their_handlers_and_types(store: Store) -> None:
    app = Celery("shop", broker="memory://", set_as_current=False)
    first, second = EventBus(app), EventBus(app, service="shop")
    first.on("order.placed", name="charge")(lambda event: None)
    second.on("order.placed", name="mail")(lambda event: None)
    second.declare("order.placed", Order)
    assert {"shop.charge", "shop.mail"} == first.service.handlers.keys()
    assert first.service is second.service
    steps: Any = app.steps
    assert 1 == sum("dispatcher" in str(step.name) for step in steps["worker"])
    with pytest.raises(InvalidData):
        first.emit("order.placed", {"number": "seven"})
    with pytest.raises(SubscriptionError, match="the name is taken"):
        second.on("order.placed", name="charge")(lambda event: None)


def test_a_bus_on_the_app_of_another_bus_shares_with_it() -> None:
    bus = EventBus(service="billing", broker_url="memory://")
    other = EventBus(bus.app, service="billing", broker_url="memory://")
    assert bus.service is other.service


def test_buses_of_one_service_with_different_settings_on_one_app_are_refused() -> None:
    """A worker has one dispatcher for each service: the handlers of one bus would never run."""
    app = Celery("shop", broker="memory://", set_as_current=False)
    EventBus(app, lease=5, redis_url="redis://:secret@127.0.0.1:1/0")
    with pytest.raises(ConfigurationError) as caught:
        EventBus(app, lease=6, redis_url="redis://:secret@127.0.0.1:2/0")
    assert "lease (5.0 and 6.0)" in str(caught.value)
    assert "redis_url, " in str(caught.value) and "secret" not in str(caught.value)
    assert str(caught.value).count(f"{__name__} (line ") == 2
    assert "import one EventBus" in str(caught.value)


def test_buses_that_only_emit_may_differ_on_one_app() -> None:
    app = Celery(broker="memory://", set_as_current=False)
    assert EventBus(app, lease=5).service is not EventBus(app, lease=6).service


def test_every_fault_of_the_settings_is_named_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        EventBus(service="not a name", redis_url="http://x", lease=0)
    for fault in ("CELERIAC_SERVICE", "CELERIAC_REDIS_URL", "CELERIAC_LEASE"):
        assert fault in str(caught.value)


def test_a_setting_that_is_none_is_named() -> None:
    with pytest.raises(ConfigurationError, match="redis_uri: no such setting"):
        EventBus(service="billing", redis_uri="redis://x")


@pytest.mark.parametrize("type", ["", "order..placed", "order.*", "order placed", None])
def test_a_bad_type_is_refused(bus: EventBus, store: Store, type: str) -> None:
    with pytest.raises(InvalidEvent):
        bus.emit(type)
    with pytest.raises(InvalidEvent):
        bus.declare(type, Order)
    assert [] == store.event_log.emitted


def test_an_unknown_attribute_is_an_error_of_the_caller(bus: EventBus) -> None:
    with pytest.raises(InvalidEvent, match=r"no argument 'subjct'\. Did you mean subject=\?"):
        bus.event("order.placed", subjct="order/1")


def test_data_without_a_form_on_the_wire_is_refused(bus: EventBus, store: Store) -> None:
    with pytest.raises(InvalidData, match="cannot be encoded"):
        bus.emit("order.placed", object())


def test_declared_data_is_converted_and_checked(bus: EventBus, store: Store) -> None:
    bus.declare("order.placed", Order)
    bus.emit("order.placed", {"number": 1, "unknown": True})
    bus.emit("order.placed", Order(2))
    with pytest.raises(InvalidData, match=r"data\.number"):
        bus.emit("order.placed", {"number": "one"})
    assert [{"number": 1}, {"number": 2}] == [one.event.data for one in store.event_log.emitted]


def test_a_schema_that_data_cannot_be_read_as_is_refused(bus: EventBus) -> None:
    with pytest.raises(SubscriptionError, match="data cannot be read as"):
        bus.declare("order.placed", EventBus)


def test_the_functions_of_the_module_are_those_of_the_default_bus(
    bus: EventBus, store: Store
) -> None:
    set_default_bus(bus)
    try:
        celeriac.emit("order.placed", id="a")
        celeriac.emit_many([("order.placed", 1)])
        asyncio.run(celeriac.aemit("order.placed", id="c"))
        asyncio.run(celeriac.aemit_many([("order.placed", 1)]))
        assert default_bus() is bus
    finally:
        set_default_bus(None)
    assert ["billing"] * 4 == [one.event.source for one in store.event_log.emitted]
    assert default_bus() is not bus
    set_default_bus(None)


def test_closing_what_was_never_opened_is_fine() -> None:
    asyncio.run(EventBus(service="billing").aclose())


def test_inbox_rows_are_kept_as_long_as_in_the_settings_of_the_bus(
    bus: EventBus, store: Store
) -> None:
    """The settings of the bus apply: with rows deleted too early, a repetition would run again."""

    @bus.on("order.placed", inbox=create_engine("sqlite://"))
    def charge(event: Event) -> None: ...

    receiver = bus.service.handlers["billing.charge"].receiver
    assert receiver is not None
    shared = bus.service.backend.bus
    shared.set("retention", "10")
    for window in (1_000_000, 30):
        shared.set("dedup_window", str(window))
        assert 2 * window * 1000 == receiver.keep_ms()
