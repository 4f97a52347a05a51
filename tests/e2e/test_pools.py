"""The same life of events on every pool: one worker, everything a handler can be asked to do."""

from __future__ import annotations

from typing import Any

import pytest

POOLS = ["prefork", "threads", "solo", "gevent"]


@pytest.mark.brokers
@pytest.mark.parametrize("pool", POOLS)
def test_every_kind_of_handler_works(deployment: Any, pool: str) -> None:
    """Fan-out, filters, retries, control flow, batches, order, causes, delay: each as promised."""
    deployment.worker(pool=pool)
    deployment.joined("billing.work", "work")
    bus = deployment.bus
    placed = [bus.emit("order.placed", {"n": n}) for n in range(40)]
    flaky = bus.emit("order.flaky", {"failures": 2})
    hopeless = bus.emit("order.flaky", {"failures": 99})
    asked = bus.emit("order.asked")
    mixed = [bus.event("order.mixed", {"n": n}) for n in range(200)]
    metrics = [bus.event("metric.cpu.load", {"n": n}) for n in range(120)]
    steps = [bus.event("step.done", {"n": n}, subject=s) for n in range(6) for s in ("a", "b")]
    for events in (mixed, metrics, steps):
        assert bus.emit_many(events) == len(events)
    first = bus.emit("chain.first")
    later = bus.emit("order.placed", {"n": 1}, delay=0.5)
    elsewhere = bus.emit("order.placed", {"n": 10}, handlers=["billing.anote"])

    deployment.until(lambda: later in deployment.runs("billing.note"), what="the delayed event")
    deployment.until_settled()

    runs = deployment.runs
    assert runs("billing.note") == dict.fromkeys([*placed, later], 1)
    assert runs("billing.anote") == dict.fromkeys([*placed[::10], elsewhere], 1)
    assert runs("billing.flaky") == {flaky: 3, hopeless: 4}
    assert runs("billing.asks") == {asked: 2}
    failing = {event.id for event in mixed[3::25]}
    assert runs("billing.mixed") == {e.id: 2 if e.id in failing else 1 for e in mixed}
    assert runs("billing.store") == dict.fromkeys((e.id for e in metrics), 1)
    assert runs("billing.chain") == {first: 1}
    assert sum(runs("billing.chained_again").values()) == 1
    for subject in "ab":
        order = deployment.effects.lrange(f"order:{subject}", 0, -1)
        assert order == [str(n) for n in range(6)]

    totals = deployment.matrix.totals()
    assert totals.missing == 0
    assert totals.dead == 1 + 1 + len(failing)  # hopeless, asked, mixed
    dead = deployment.bus.service.backend.deliveries.dead("order")
    assert {letter.event_id for letter in dead} == {hopeless, asked, *failing}
    assert all("Traceback" in letter.traceback for letter in dead)


@pytest.mark.parametrize("pool", POOLS)
def test_a_warm_stop_in_full_flow_loses_nothing_and_runs_nothing_twice(
    deployment: Any, pool: str
) -> None:
    """What was queued is requeued, so the next worker need not wait for a lease to expire."""
    deployment.lease = 30.0
    worker = deployment.worker(pool=pool)
    deployment.joined("billing.work", "work")
    bus = deployment.bus
    ids = [bus.event("work.one") for _ in range(1500)]
    bus.emit_many(ids)
    deployment.until(lambda: len(deployment.runs("billing.work")) > 100, what="full flow")
    assert worker.stop() == 0
    deployment.worker(pool=pool)
    deployment.until_settled(seconds=20)
    assert deployment.runs("billing.work") == dict.fromkeys((event.id for event in ids), 1)
