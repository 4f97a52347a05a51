"""A handler that raises Skip: its delivery is recorded as skipped, and nothing failed."""

from __future__ import annotations

from typing import Any

import pytest

from celeriac import Attempt, Breaker, Event, EventBus, Middleware, Skip
from celeriac.delivery import DeliveryState
from celeriac.testing import in_memory
from celeriac.tracking import Matrix


def states(bus: EventBus, id: str) -> set[DeliveryState]:
    return {cell.state for cell in Matrix(bus.service.backend).status(id).cells}


@pytest.mark.parametrize("options", [{}, {"ordered": True}, {"breaker": Breaker()}])
def test_a_skipped_delivery_is_neither_retried_nor_dead(
    bus: EventBus, options: dict[str, Any]
) -> None:
    runs: list[str] = []

    @bus.on("order.placed", **options)
    def charge(event: Event) -> None:
        runs.append(event.id)
        raise Skip("paid already")

    with in_memory(bus) as memory:
        bus.emit("order.placed", id="a", subject="42")
        result = memory.run_until_idle()
        assert states(bus, "a") == {DeliveryState.SKIPPED}
        memory.assert_no_dead()
    assert (result.skipped, result.processed, result.failures) == (1, 0, [])
    assert runs == ["a"]


def test_a_batch_is_skipped_as_a_whole(bus: EventBus) -> None:
    @bus.on("order.placed", batch=10)
    def charge(events: list[Event]) -> None:
        raise Skip

    with in_memory(bus) as memory:
        for id in "ab":
            bus.emit("order.placed", id=id)
        assert memory.run_until_idle().skipped == 2
        memory.assert_no_dead()


def test_middleware_sees_a_skip_as_a_success() -> None:
    seen: list[tuple[str, str]] = []

    class Recorder(Middleware):
        def after_attempt(self, attempt: Attempt) -> None:
            seen.append(("after", attempt.outcome))

        def attempt_failed(self, attempt: Attempt) -> None:
            seen.append(("failed", attempt.outcome))

    bus = EventBus(service="skipping", middleware=[Recorder()])

    @bus.on("order.placed")
    def charge(event: Event) -> None:
        raise Skip

    with in_memory(bus) as memory:
        bus.emit("order.placed")
        assert memory.run_until_idle().skipped == 1
    assert seen == [("after", "skipped")]
