"""tenants=: a handler that gets the events of some tenants only."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import Struct

from celeriac import Event, EventBus, PerKey, SubscriptionError
from celeriac.delivery import Group, Outcome
from celeriac.dispatcher.message_filter import outcome_of
from celeriac.event import encode, read_header
from celeriac.handler import Debounce, HandlerOptions, make_handler
from celeriac.security.generate import generate
from celeriac.settings import Settings
from celeriac.testing import in_memory
from tests.unit.tracking.shop import Shop, memory_backend

NOWHERE = "redis://127.0.0.1:1/0"


class Order(Struct):
    number: int


@pytest.fixture
def shop() -> Shop:
    settings = Settings.load({}, source="shop")
    return Shop(memory_backend(settings), settings)


def handle(event: Event) -> None: ...


def made(**options: Any) -> Any:
    return make_handler(handle, ["order.*"], HandlerOptions(**options), service="billing")


def test_a_handler_gets_the_events_of_its_tenants_and_skips_the_rest(shop: Shop) -> None:
    got: list[str | None] = []
    shop.on(
        "billing.some",
        "order.placed",
        tenants=["acme", "globex"],
        function=lambda e: got.append(e.tenant),
    )
    shop.on("billing.all", "order.placed")
    shop.start()
    for tenant in ("acme", "initech", None, "globex", "acme"):
        shop.emit("order.placed", tenant=tenant)
    shop.run_until_idle()
    assert got == ["acme", "globex", "acme"]
    some, every = shop.backend.deliveries.counters(
        [Group("order", "billing.some"), Group("order", "billing.all")]
    )
    assert (some["order.placed"].processed, some["order.placed"].skipped) == (3, 2)
    assert every["order.placed"].processed == 5


def test_when_and_share_decide_within_the_tenants() -> None:
    handler = made(tenants=["acme"], share=0.3, when=lambda event: event.data["n"] > 1)
    cases = [("acme", "order/2", 2), ("acme", "order/1", 2), ("acme", "order/2", 1),
             ("globex", "order/2", 2)]  # fmt: skip
    bodies = [
        encode(
            Event(id="1", source="s", type="order.placed", tenant=tenant, subject=subject,
                  data={"n": n})
        )
        for tenant, subject, n in cases
    ]  # fmt: skip
    outcomes = [outcome_of(handler, read_header(body), body) for body in bodies]
    assert outcomes == [None, Outcome.SKIPPED, Outcome.SKIPPED, Outcome.SKIPPED]


def test_data_of_another_tenant_is_not_read() -> None:
    """A tenant with another form of data makes no dead letters of a handler that excludes it."""
    bus = EventBus(service="billing", redis_url=NOWHERE)
    got: list[int] = []

    @bus.on("order.placed", tenants=["acme"], retries=0)
    def charge(event: Event[Order]) -> None:
        got.append(event.data.number)

    with in_memory(bus) as memory:
        bus.emit("order.placed", {"number": 1}, tenant="acme")
        bus.emit("order.placed", {"ref": "x"}, tenant="globex")
        result = memory.run_until_idle()
        memory.assert_no_dead()
    assert got == [1]
    assert result.skipped == 1


def test_a_forged_tenant_is_no_way_around_a_signature() -> None:
    """Whether an event is of the tenant is decided after its signature is verified."""
    private, public = (json.dumps(key) for key in generate("shop"))
    bus = EventBus(service="billing", redis_url=NOWHERE, signing_key=private, trusted_keys=public)
    ran: list[str | None] = []

    @bus.on("order.placed", tenants=["acme"], signed=True, retries=0)
    def charge(event: Event[Any]) -> None:
        ran.append(event.tenant)

    with in_memory(bus) as memory:
        bus.emit("order.placed", tenant="acme")
        bus.emit("order.placed", tenant="globex")
        body = memory.store.event_log.read("order")[-1].body or b""
        memory.store.event_log.append("order", body.replace(b"globex", b"acme"))
        result = memory.run_until_idle()
        assert ran == ["acme"]
        assert result.skipped == 1
        [dead] = memory.dead
        assert "signature is not valid" in dead.error


def test_a_broadcast_handler_can_have_tenants() -> None:
    bus = EventBus(service="billing", redis_url=NOWHERE)
    got: list[str | None] = []

    @bus.on("order.placed", tenants=["acme"], broadcast=True)
    def see(event: Event[Any]) -> None:
        got.append(event.tenant)

    with in_memory(bus) as memory:
        for tenant in ("acme", "globex", None):
            bus.emit("order.placed", tenant=tenant)
        memory.run_until_idle()
    assert got == ["acme"]


def test_limits_apply_to_each_tenant() -> None:
    bus = EventBus(service="billing", redis_url=NOWHERE)
    order: list[str | None] = []

    @bus.on("order.placed", key="tenant", concurrency=PerKey(1), fair=True)
    def charge(event: Event[Any]) -> None:
        order.append(event.tenant)

    with in_memory(bus) as memory:
        for tenant in ("acme", "acme", "acme", "globex"):
            bus.emit("order.placed", tenant=tenant)
        memory.run_until_idle()
        memory.assert_no_dead()
    assert sorted(filter(None, order)) == ["acme"] * 3 + ["globex"]
    assert order.index("globex") < 3


def test_the_registry_shows_them() -> None:
    assert made(tenants=["globex", "acme"]).describe_options()["tenants"] == "acme,globex"
    assert "when" not in made(tenants=["acme"]).describe_options()
    assert "tenants" not in made().describe_options()


@pytest.mark.parametrize(
    ("tenants", "reason"),
    [
        ("acme", "must be a list"),
        ([], "at least one name"),
        (["a b"], "spaces"),
        ([7], "must be a string"),
        (7, "must be a list"),
    ],
)
def test_a_wrong_list_is_refused(tenants: Any, reason: str) -> None:
    with pytest.raises(SubscriptionError, match=reason):
        made(tenants=tenants)


def test_debounced_events_are_not_filtered() -> None:
    with pytest.raises(SubscriptionError, match="tenants= and Debounce"):
        made(tenants=["acme"], key="subject", debounce=Debounce(quiet=1, max_wait=2))
    HandlerOptions(tenants=["acme"], debounce=Debounce(quiet=1, max_wait=2, keep="all")).check()


def test_a_process_takes_no_tenants() -> None:
    """It would not get the rest of its events, and its own reminders."""
    from celeriac.process.register import OPTIONS

    assert "tenants" not in OPTIONS
