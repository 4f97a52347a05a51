"""A process that requires signatures handles the events that its own service signs."""

from __future__ import annotations

import json

from sqlalchemy import create_engine

from celeriac import EventBus
from celeriac.process import Status
from celeriac.security.generate import generate
from celeriac.testing import in_memory
from tests.unit.process.shop import fulfilment


def test_timers_are_signed_and_a_forged_abort_is_refused() -> None:
    private, public = generate("orders")
    bus = EventBus(
        service="orders",
        signing_key=json.dumps(private),
        trusted_keys=json.dumps(public),
    )
    forger = EventBus(service="forger")
    process = bus.process(fulfilment(create_engine("sqlite://")), signed=True)
    with in_memory(bus, forger) as memory:
        bus.emit("order.placed", {"cents": 1}, subject="order-1")
        memory.run_until_idle(jump=False)
        abort = {"key": "order-1", "reason": "forged"}
        forger.emit("process.abort_requested", abort, handlers=["orders.fulfilment"])
        memory.run_until_idle(jump=False)
        assert memory.instance(process, "order-1").status is Status.OPEN
        assert ["UntrustedEvent" in dead.error for dead in memory.dead] == [True]
        memory.run_until_idle()
        assert memory.instance(process, "order-1").reason == "not paid in a day"
