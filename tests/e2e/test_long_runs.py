"""An event that runs long keeps no other event waiting while another process is free."""

from __future__ import annotations

from typing import Any

import pytest


def test_the_first_event_of_a_handler_delays_no_other_event(deployment: Any) -> None:
    """Nothing is known of the handler's run time until that event ends."""
    deployment.lease = 30.0
    deployment.worker(app="uneven", processes=3)
    deployment.joined("billing.bill", "order")
    deployment.joined("billing.ship", "order")
    bus = deployment.bus
    long = bus.event("order.placed", {"others": 100}, subject="order/long")
    behind = [bus.event("order.placed", {}, subject=f"order/{n}") for n in range(100)]
    bus.emit_many([long, *behind])
    deployment.until_settled()
    for handler in ("billing.bill", "billing.ship"):
        assert deployment.runs(handler) == dict.fromkeys((e.id for e in (long, *behind)), 1)


@pytest.mark.parametrize("pool", ["prefork", "threads", "gevent"])
def test_one_long_run_delays_no_other_event(deployment: Any, pool: str) -> None:
    """It ends only when all events that were emitted behind it have run."""
    deployment.lease = 30.0
    deployment.worker(app="uneven", pool=pool, processes=3)
    deployment.joined("billing.bill", "order")
    deployment.joined("billing.ship", "order")
    bus = deployment.bus
    events = [bus.event("order.placed", {}, subject=f"order/{n}") for n in range(300)]
    bus.emit_many(events)
    deployment.until_settled()  # from here on both handlers have a run time
    behind = [bus.event("order.placed", {}, subject=f"order/{n}") for n in range(200)]
    total = len(events) + len(behind)
    long = bus.event("order.placed", {"others": total}, subject="order/long")
    bus.emit_many([*behind[:20], long, *behind[20:]])
    deployment.until_settled()
    ids = [event.id for event in (*events, *behind, long)]
    for handler in ("billing.bill", "billing.ship"):
        assert deployment.runs(handler) == dict.fromkeys(ids, 1)
    assert (deployment.matrix.totals().dead, deployment.matrix.totals().missing) == (0, 0)
