"""Hints that the broker lost: the next sweep after their lease sends all of them anew."""

from __future__ import annotations

from celeriac import Event, EventBus
from celeriac.dispatcher.flow import HINTS_AHEAD
from celeriac.executor import Executor
from celeriac.testing.store import Store
from tests.unit.dispatcher.conftest import MakeDispatcher, Sent


def charge(event: Event) -> None: ...


def test_as_many_lost_hints_as_may_wait_are_all_sent_anew_by_one_sweep(
    bus: EventBus, dispatcher: MakeDispatcher, sent: Sent, store: Store
) -> None:
    """They count as waiting, and must not keep themselves from being healed."""
    bus.on("order.placed")(charge)
    turning = dispatcher()
    bus.emit("order.placed", id="first")
    turning.turn()
    for chunk in sent:
        Executor(bus.service).execute(chunk.handler, chunk.lane.domain, chunk.hinted)
    sent.clear()
    turning.turn()
    ids = [f"e{n}" for n in range(HINTS_AHEAD)]
    for id in ids:
        bus.emit("order.placed", id=id)
        turning.turn()
    assert len(sent) == HINTS_AHEAD, "as many hints as may wait"
    sent.clear()
    store.clock.advance(store.ledger.lease_ms)
    bus.emit("order.placed", id="new")
    turning.turn()
    assert sorted(id for some in sent.ids for id in some) == ids, "and nothing new beside them"
