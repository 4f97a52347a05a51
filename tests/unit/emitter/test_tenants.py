"""The tenant of emitted events: given, inherited, left out, and limited by CELERIAC_TENANTS."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from celeriac import NO_TENANT, ConfigurationError, Emit, Event, EventBus, InvalidEvent, Reply
from celeriac.emitter import received_event
from celeriac.event import decode, encode
from celeriac.middleware import Middleware
from celeriac.testing import in_memory, make_event

NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture
def shop() -> EventBus:
    return EventBus(service="shop", redis_url=NOWHERE)


def limited(tenants: str) -> EventBus:
    return EventBus(service="shop", redis_url=NOWHERE, tenants=tenants)


def test_it_is_an_attribute_of_the_event_and_of_its_json(shop: EventBus) -> None:
    event = shop.event("order.placed", tenant="acme")
    assert event.tenant == "acme"
    assert b'"tenant":"acme"' in encode(event)
    assert decode(encode(event)).tenant == "acme"
    assert shop.event("order.placed").tenant is None


def test_every_way_of_emitting_takes_it(shop: EventBus) -> None:
    with in_memory(shop) as memory:
        shop.emit("order.placed", tenant="a")
        shop.emit("order.placed", tenant="b", delay=5)
        shop.emit_many(
            [
                shop.event("order.placed", tenant="c"),
                {"type": "order.placed", "tenant": "d"},
                ("order.placed", None),
            ]
        )
        asyncio.run(shop.aemit("order.placed", tenant="e"))
        assert [event.tenant for event in memory.emitted] == ["a", "b", "c", "d", None, "e"]


@pytest.mark.parametrize("tenant", ["", " ", "a b", "a,b", "a\n", "x" * 101, 7])
def test_an_invalid_name_is_refused(shop: EventBus, tenant: Any) -> None:
    with in_memory(shop) as memory:
        with pytest.raises(InvalidEvent, match="`tenant`"):
            shop.emit("order.placed", tenant=tenant)
        assert not memory.emitted


def test_an_invalid_name_of_another_producer_is_refused() -> None:
    with pytest.raises(InvalidEvent, match="`tenant` must not contain spaces"):
        decode(b'{"specversion":"1.0","id":"1","source":"s","type":"a","tenant":"a b"}')
    with pytest.raises(InvalidEvent, match="`tenant` must be a string"):
        decode(b'{"specversion":"1.0","id":"1","source":"s","type":"a","tenant":7}')


# -- inheritance


def emits(bus: EventBus, emit: Callable[[Event[Any]], object], **options: Any) -> None:
    def react(event: Event[Any]) -> object:
        return emit(event)

    def react_to_many(events: list[Event[Any]]) -> object:
        return emit(events[0])

    function = react_to_many if "batch" in options else react
    bus.on("order.placed", name="react", **options)(function)


def tenants_after(bus: EventBus, *given: str | None) -> list[str | None]:
    """Return the tenants of the events that follow from an event of each given tenant."""
    with in_memory(bus) as memory:
        bus.emit_many([{"type": "order.placed", "tenant": tenant} for tenant in given])
        memory.run_until_idle()
        memory.assert_no_dead()
        return [event.tenant for event in memory.emitted if event.type != "order.placed"]


def test_an_event_that_a_handler_emits_inherits_it(shop: EventBus) -> None:
    def emit(event: Event[Any]) -> None:
        shop.emit("order.paid")
        shop.emit_many([("order.paid", {}), {"type": "order.paid"}])

    emits(shop, emit)
    assert tenants_after(shop, "acme", None) == [*["acme"] * 3, *[None] * 3]


def test_what_a_handler_returns_inherits_it(shop: EventBus) -> None:
    emits(shop, lambda event: [Emit("order.paid"), Reply(1), Emit("order.sent", tenant="globex")])
    assert tenants_after(shop, "acme") == ["acme", "acme", "globex"]


def test_a_handler_can_name_another_tenant_or_none(shop: EventBus) -> None:
    emits(
        shop,
        lambda event: [
            shop.emit("order.paid", tenant="globex"),
            shop.emit("order.paid", tenant=NO_TENANT),
            Emit("order.paid", tenant=NO_TENANT),
        ][-1:],
    )
    assert tenants_after(shop, "acme") == ["globex", None, None]


@pytest.mark.parametrize("given", [("acme",), ("acme", "globex"), ("acme", "acme")])
def test_a_handler_of_lists_inherits_none_whatever_is_in_the_list(
    shop: EventBus, given: tuple[str, ...]
) -> None:
    """Otherwise the tenant would depend on which events happen to be in one batch."""
    emits(shop, lambda events: Emit("order.paid", tenant=None), batch=10)
    assert tenants_after(shop, *given) == [None]


def test_a_broadcast_handler_passes_it_on(shop: EventBus) -> None:
    emits(shop, lambda event: shop.emit("order.seen"), broadcast=True)
    assert tenants_after(shop, "acme") == ["acme"]


def test_a_retried_run_inherits_the_same(shop: EventBus) -> None:
    tries: list[int] = []

    def emit(event: Event[Any]) -> Emit:
        tries.append(1)
        if len(tries) == 1:
            raise ValueError
        return Emit("order.paid")

    emits(shop, emit)
    assert tenants_after(shop, "acme") == ["acme"]


def test_outside_a_handler_no_tenant_is_none(shop: EventBus) -> None:
    assert shop.event("order.placed", tenant=NO_TENANT).tenant is None


def test_middleware_can_set_it() -> None:
    class Tenant(Middleware):
        def before_emit(self, event: Event[Any]) -> Event[Any]:
            return replace(event, tenant="acme")

    bus = EventBus(service="shop", redis_url=NOWHERE, middleware=[Tenant()])
    with in_memory(bus) as memory:
        bus.emit("order.placed")
        assert memory.emitted[0].tenant == "acme"


def test_a_test_makes_an_event_with_one() -> None:
    assert make_event("order.placed", tenant="acme").tenant == "acme"


def test_a_schedule_emits_it(shop: EventBus) -> None:
    shop.schedule("report.due", every=60, tenant="acme")
    emitted: list[bytes] = []
    declared = shop.service.schedules["report.due"]

    def append(body: bytes, kind: object) -> bool:
        emitted.append(body)
        return True

    declared.emit(60_000, append)
    assert decode(emitted[0]).tenant == "acme"


# -- CELERIAC_TENANTS


def test_a_limited_service_emits_events_of_its_tenants_only() -> None:
    bus = limited("acme, globex")
    with in_memory(bus) as memory:
        bus.emit("order.placed", tenant="acme")
        bus.emit_many([{"type": "order.placed", "tenant": "globex"}])
        with pytest.raises(InvalidEvent, match="`tenant` 'initech' is not in CELERIAC_TENANTS"):
            bus.emit("order.placed", tenant="initech")
        for emit in (
            lambda: bus.emit("order.placed"),
            lambda: bus.emit_many([("order.placed", None)]),
            lambda: bus.emit("order.placed", tenant=NO_TENANT),
            lambda: asyncio.run(bus.aemit("order.placed")),
        ):
            with pytest.raises(InvalidEvent, match=r"`tenant` is missing.*acme, globex"):
                emit()
        assert [event.tenant for event in memory.emitted] == ["acme", "globex"]


def test_a_service_of_one_tenant_need_not_name_it() -> None:
    bus = limited("acme")
    with in_memory(bus) as memory:
        bus.emit("order.placed")
        bus.emit("order.placed", subject="order/1")
        bus.emit_many([("order.placed", None), {"type": "order.placed"}])
        assert [event.tenant for event in memory.emitted] == ["acme"] * 4
        with pytest.raises(InvalidEvent, match="missing"):
            bus.emit("order.placed", tenant=NO_TENANT)


def test_a_service_of_one_tenant_does_not_take_over_the_events_of_another() -> None:
    """The reaction to an event of globex is not an event of acme."""
    bus, other = limited("acme"), EventBus(service="web", redis_url=NOWHERE)
    errors: list[str] = []

    @bus.on("order.placed", retries=0)
    def react(event: Event[Any]) -> None:
        try:
            bus.emit("order.paid")
        except InvalidEvent as error:
            errors.append(str(error))

    with in_memory(bus, other) as memory:
        other.emit("order.placed", tenant="globex")
        memory.run_until_idle()
        assert len(memory.emitted) == 1
    [error] = errors
    assert "`tenant` 'globex' is not in CELERIAC_TENANTS" in error


def test_middleware_cannot_leave_the_limit() -> None:
    class Tenant(Middleware):
        def before_emit(self, event: Event[Any]) -> Event[Any]:
            return replace(event, tenant="globex")

    bus = EventBus(service="shop", redis_url=NOWHERE, middleware=[Tenant()], tenants="acme")
    with in_memory(bus) as memory:
        with pytest.raises(InvalidEvent, match="globex"):
            bus.emit("order.placed")
        with pytest.raises(InvalidEvent, match="globex"):
            bus.emit_many([("order.placed", None)])
        assert not memory.emitted


def test_a_schedule_outside_the_limit_is_refused_at_import() -> None:
    with pytest.raises(InvalidEvent, match="globex"):
        limited("acme").schedule("report.due", every=60, tenant="globex")


def test_a_received_event_gets_the_tenant_of_a_service_of_one() -> None:
    event = decode(encode(make_event("order.placed")))
    assert received_event(limited("acme").emitter, event).tenant == "acme"
    assert received_event(limited("acme,globex").emitter, event).tenant is None
    other = decode(encode(make_event("order.placed", tenant="globex")))
    assert received_event(limited("acme").emitter, other).tenant == "globex"


def test_an_empty_list_is_no_limit() -> None:
    bus = limited(" , ")
    with in_memory(bus) as memory:
        bus.emit("order.placed")
        assert len(memory.emitted) == 1


def test_a_wrong_name_in_the_setting_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"CELERIAC_TENANTS=.*spaces"):
        limited("acme,glo bex")
