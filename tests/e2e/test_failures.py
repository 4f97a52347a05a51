"""Processes die, servers restart, services are away: every event still reaches its handlers."""

from __future__ import annotations

import re
from typing import Any

import pytest


def test_a_service_that_is_down_gets_its_copy_when_it_starts(deployment: Any) -> None:
    """Two of three services process the event at once; the matrix shows it at each step."""
    services = ["billing", "shipping", "mail"]
    for service in services:
        worker = deployment.worker(service)
        deployment.joined(f"{service}.note", "order")
        if service == "mail":
            worker.stop()
    event_id = deployment.bus.emit("order.placed", {"n": 1})

    def states() -> dict[str, str]:
        cells = deployment.matrix.status(event_id).cells
        return {c.handler: str(c.state) for c in cells if c.handler.endswith(".note")}

    done = {"billing.note": "processed", "shipping.note": "processed"}
    deployment.until(lambda: states() == {**done, "mail.note": "waiting"}, what="two of three")
    deployment.worker("mail")
    deployment.until(lambda: states() == {**done, "mail.note": "processed"}, what="the third")
    for service in services:
        assert deployment.runs(f"{service}.note") == {event_id: 1}


@pytest.mark.brokers
def test_killing_a_worker_group_again_and_again_loses_nothing(deployment: Any) -> None:
    """5,000 events, the whole process group killed in the middle three times over."""
    worker = deployment.worker()
    deployment.joined("billing.work", "work")
    events = [deployment.bus.event("work.one") for _ in range(5000)]
    deployment.bus.emit_many(events)
    for share in (500, 1500, 3000):
        deployment.until(
            lambda share=share: len(deployment.runs("billing.work")) > share, what=f"{share} runs"
        )
        worker.kill()
        worker = deployment.worker()
    deployment.until_settled(seconds=60)
    runs = deployment.runs("billing.work")
    assert set(runs) == {event.id for event in events}
    assert deployment.missing() == 0
    # Only what was truly running, or finished less than a flush before, ran again.
    assert sum(runs.values()) - len(runs) < 3 * 2 * 20


def test_events_survive_a_restart_of_redis(deployment: Any) -> None:
    worker = deployment.worker()
    deployment.joined("billing.note", "order")
    worker.stop()
    bus = deployment.bus
    ids = [bus.emit("order.placed", {"n": 1}) for _ in range(50)]
    deployment.server.restart()
    deployment.worker()
    deployment.until_settled()
    assert deployment.runs("billing.note") == dict.fromkeys(ids, 1)
    assert deployment.missing() == 0


def test_a_worker_outlives_a_restart_of_redis(deployment: Any) -> None:
    """Emit blocks for the moment that Redis is away; dispatcher and executor wait it out."""
    deployment.worker()
    deployment.joined("billing.work", "work")
    bus = deployment.bus
    before = [bus.event("work.one") for _ in range(2000)]
    bus.emit_many(before)
    deployment.server.restart()
    after = [bus.emit("work.one") for _ in range(10)]
    deployment.until_settled()
    assert set(deployment.runs("billing.work")) == {*(e.id for e in before), *after}


def test_a_failing_handler_is_retried_alone_and_redriven_alone(deployment: Any) -> None:
    deployment.worker()
    deployment.joined("billing.work", "work")
    bus = deployment.bus
    event_id = bus.emit("order.broken")
    deployment.until_settled()
    assert deployment.runs("billing.broken") == {event_id: 2}
    backend = bus.service.backend
    [letter] = backend.deliveries.dead("order")
    assert (letter.handler, letter.attempts) == ("billing.broken", 2)
    assert "ValueError: never works" in letter.traceback

    deployment.effects.set("mended", "yes")
    handler = bus.service.backend.registry.handlers()["billing.broken"]
    from celeriac.delivery import Group

    assert handler.id == letter.handler
    assert backend.deliveries.redrive(Group("order", letter.handler), [(letter, letter.event)])
    deployment.until(lambda: deployment.runs("billing.broken") == {event_id: 3}, what="redrive")
    deployment.until_settled()
    assert backend.deliveries.dead("order") == []
    [cell] = [c for c in deployment.matrix.status(event_id).cells if c.handler == letter.handler]
    assert (str(cell.state), cell.attempts) == ("processed", 1)


@pytest.mark.brokers
def test_a_handler_that_kills_its_process_is_dead_lettered_and_harms_no_other(
    deployment: Any,
) -> None:
    """Without waiting for a lease: the main process saw its pool process die."""
    deployment.lease = 60.0
    worker = deployment.worker()
    deployment.joined("billing.work", "work")
    bus = deployment.bus
    killed = bus.emit("crash.kill")
    exits = bus.emit("crash.exit")
    hangs = bus.emit("crash.hang")
    others = [bus.emit("work.one") for _ in range(50)]
    deployment.until_settled(seconds=40)
    assert deployment.runs("billing.deadly") == {killed: 2}
    assert deployment.runs("billing.exits") == {exits: 1}
    assert deployment.runs("billing.hangs") == {hangs: 1}
    assert deployment.runs("billing.work") == dict.fromkeys(others, 1)
    reasons = {d.event_id: d.error for d in bus.service.backend.deliveries.dead("crash")}
    assert reasons.keys() == {killed, exits, hangs}
    assert "WorkerLostError" in reasons[killed]
    assert "SystemExit" in reasons[exits]
    assert "TimeLimitExceeded" in reasons[hangs]
    logged = re.findall(r"failed on \S+ (\S+) in attempt (\d)", worker.said())
    assert [(exits, "1"), (hangs, "1"), (killed, "1"), (killed, "2")] == sorted(
        logged, key=lambda one: (reasons[one[0]], one)
    )
    # Celery reports none of them again.
    assert not re.findall("Task handler raised error|Hard time limit", worker.said())


def test_a_handler_may_run_longer_than_its_lease(deployment: Any) -> None:
    deployment.worker()
    deployment.worker()
    deployment.joined("billing.slow", "slow")
    seconds = 2.5 * deployment.lease
    event_id = deployment.bus.emit("slow.one", {"seconds": seconds})
    deployment.until_settled()
    assert deployment.runs("billing.slow_started") == {event_id: 1}
    assert deployment.runs("billing.slow") == {event_id: 1}


def test_tasks_lost_with_the_celery_queue_are_recovered_by_the_lease(deployment: Any) -> None:
    deployment.worker(processes=1)
    deployment.joined("billing.slow", "slow")
    bus = deployment.bus
    ids = [bus.emit("slow.one", {"seconds": 0.3}) for _ in range(6)]
    deployment.until(lambda: len(deployment.runs("billing.slow_started")) >= 1)
    bus.service.backend.event_log.client.delete("billing")
    deployment.until_settled()
    assert deployment.runs("billing.slow") == dict.fromkeys(ids, 1)
