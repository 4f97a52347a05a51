"""share= and paused=: a handler that starts with a part of the events, or with none."""

from __future__ import annotations

from typing import Any

import pytest
from celery import Celery

from celeriac import Event, EventBus
from celeriac.circuit_breaker import CircuitState
from celeriac.delivery import Group
from celeriac.errors import SubscriptionError
from celeriac.handler import HandlerOptions, in_share, make_handler
from celeriac.handler.share import position
from celeriac.settings import Settings
from celeriac.testing import in_memory
from tests.unit.tracking.shop import Shop, memory_backend


@pytest.fixture
def shop() -> Shop:
    settings = Settings.load({}, source="shop")
    return Shop(memory_backend(settings), settings)


def handle(event: Event) -> None: ...


def test_a_position_is_the_same_in_every_version_and_language() -> None:
    """The first 48 bits of SHA-256, as a fraction."""
    assert 0.3644 == round(position("order/7"), 4)
    assert position("") == position("")


def test_a_larger_share_has_the_subjects_of_a_smaller_one() -> None:
    subjects = [f"order/{n}" for n in range(2000)]
    small = {one for one in subjects if in_share(one, 0.1)}
    large = {one for one in subjects if in_share(one, 0.5)}
    assert small < large
    assert 150 < len(small) < 250 and 900 < len(large) < 1100
    assert all(in_share(one, 1) for one in subjects)


def test_a_handler_gets_its_share_of_the_subjects_and_skips_the_rest(shop: Shop) -> None:
    got: list[str] = []
    shop.on("billing.new", "order.placed", share=0.3, function=lambda e: got.append(e.subject))
    shop.on("billing.old", "order.placed")
    shop.start()
    subjects = [f"order/{n}" for n in range(50)] * 2
    for subject in subjects:
        shop.emit("order.placed", subject=subject)
    shop.run_until_idle()
    assert sorted(got) == sorted(one for one in subjects if in_share(one, 0.3))
    [counters] = shop.backend.deliveries.counters([Group("order", "billing.new")])
    assert len(got) == counters["order.placed"].processed
    assert len(subjects) - len(got) == counters["order.placed"].skipped


def test_when_decides_within_the_share(shop: Shop) -> None:
    got: list[int] = []
    shop.on(
        "billing.new", "order.placed", share=0.5, when=lambda e: e.data > 10,
        function=lambda e: got.append(e.data),
    )  # fmt: skip
    shop.start()
    for n in range(20):
        shop.emit("order.placed", n, subject=f"order/{n}")
    shop.run_until_idle()
    assert got == [n for n in range(11, 20) if in_share(f"order/{n}", 0.5)]
    options = shop.backend.registry.handlers()["billing.new"].options
    assert ("0.5", "True") == (options["share"], options["when"])


def test_events_without_a_subject_count_by_partition_key_then_by_id(shop: Shop) -> None:
    got: list[str] = []
    shop.on("billing.new", "order.placed", share=0.5, function=lambda e: got.append(e.id))
    shop.start()
    for n in range(10):
        shop.emit("order.placed", id=f"a{n}", partitionkey=f"tenant/{n}")
        shop.emit("order.placed", id=f"b{n}")
    shop.run_until_idle()
    expected = [f"a{n}" for n in range(10) if in_share(f"tenant/{n}", 0.5)]
    expected += [f"b{n}" for n in range(10) if in_share(f"b{n}", 0.5)]
    assert sorted(expected) == sorted(got)


@pytest.mark.parametrize("share", [0, -0.1, 1.1, "0.1", True, float("nan")])
def test_what_is_no_share_is_refused(share: Any) -> None:
    with pytest.raises(SubscriptionError, match="share="):
        make_handler(handle, ["order.placed"], HandlerOptions(share=share), service="billing")


def test_paused_takes_true_or_false_only() -> None:
    with pytest.raises(SubscriptionError, match="paused='yes': must be True or False"):
        make_handler(handle, ["order.placed"], HandlerOptions(paused="yes"), service="b")  # type: ignore[arg-type]


def test_a_handler_is_paused_at_its_first_start_and_its_events_wait(shop: Shop) -> None:
    got: list[object] = []
    shop.on("billing.new", "order.placed", paused=True, function=got.append)
    shop.start()
    circuit = shop.backend.circuits.get("billing.new")
    assert (CircuitState.PAUSED, "first start with paused=True") == (circuit.state, circuit.reason)
    shop.emit("order.placed")
    shop.run_until_idle()
    assert [] == got
    assert shop.backend.circuits.resume("billing.new")
    shop.start()
    shop.run_until_idle()
    assert 1 == len(got)


def test_later_starts_leave_it_as_the_operator_did(shop: Shop) -> None:
    shop.on("billing.new", "order.placed", paused=True)
    shop.start()
    shop.backend.circuits.resume("billing.new")
    shop.start()
    assert {} == shop.backend.circuits.all()
    # After the loss of its record it is not a new handler, because its group exists.
    shop.backend.registry._handlers.pop("billing.new")  # type: ignore[attr-defined]
    shop.start()
    assert {} == shop.backend.circuits.all()


def test_the_test_kit_runs_a_handler_that_begins_paused() -> None:
    bus = EventBus(Celery("billing"), service="billing")
    got: list[str] = []

    @bus.on("order.placed", paused=True)
    def new(event: Event) -> None:
        got.append(event.id)

    with in_memory(bus) as memory:
        bus.emit("order.placed", id="a")
        memory.run_until_idle()
    assert ["a"] == got
