"""Expired leases: they are reclaimed, except right after an outage."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from celeriac import Breaker, Event, EventBus
from celeriac.dispatcher.dispatcher import RENEWED_WITHIN
from celeriac.dispatcher.task_sender import TASKS_AHEAD
from celeriac.testing.store import Store
from tests.unit.delivery_task import run_task
from tests.unit.dispatcher.conftest import MakeDispatcher, Sent


def charge(event: Event) -> None: ...


def test_as_many_lost_tasks_as_may_wait_are_all_sent_again_at_once(
    bus: EventBus, dispatcher: MakeDispatcher, sent: Sent, store: Store
) -> None:
    """They count as waiting, and must not prevent their own recovery."""
    bus.on("order.placed", breaker=Breaker())(charge)
    turning = dispatcher()
    bus.emit("order.placed", id="first")
    turning.run_once()
    for chunk in sent:
        run_task(bus.service, chunk)
    sent.clear()
    turning.run_once()
    ids = [f"e{n}" for n in range(TASKS_AHEAD)]
    for id in ids:
        bus.emit("order.placed", id=id)
        turning.run_once()
    assert len(sent) == TASKS_AHEAD, "as many hints as may wait"
    sent.clear()
    store.clock.advance(store.deliveries.lease_ms)
    bus.emit("order.placed", id="new")
    turning.run_once()
    assert sorted(id for some in sent.ids for id in some) == ids, "and nothing new beside them"


def test_no_lease_is_taken_over_right_after_a_wait_that_the_server_held_up(
    bus: EventBus,
    dispatcher: MakeDispatcher,
    sent: Sent,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server that is busy or frozen takes no renewal, and refuses no read that waits."""
    bus.on("order.placed")(charge)
    now = 0.0
    turning = dispatcher(clock=lambda: now)
    bus.emit("order.placed", id="a")
    turning.run_once()
    sent.clear()
    store.clock.advance(store.deliveries.lease_ms)

    def hold_up(seen: Mapping[str, str], seconds: float) -> Mapping[str, str]:
        nonlocal now
        now += 4.0
        return seen

    monkeypatch.setattr(bus.service.backend.event_log, "wait", hold_up)
    turning._wait(1.0)
    turning.run_once()
    assert [] == sent.ids
    now += RENEWED_WITHIN
    turning.run_once()
    assert [["a"]] == sent.ids
