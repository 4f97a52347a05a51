"""Broadcasts reach every worker and pool process that lives, on each pool."""

from __future__ import annotations

from typing import Any

import pytest


def received(deployment: Any, scope: str) -> dict[str, list[str]]:
    """Process → what it got."""
    effects = deployment.effects
    return {key: effects.lrange(key, 0, -1) for key in effects.scan_iter(f"{scope}:*")}


def ready(deployment: Any, processes: int) -> None:
    """Wait until so many processes listen, and one read of a log has begun in each."""

    def count() -> int:
        deployment.bus.emit("cache.invalidated", "ready")
        got = [*received(deployment, "worker"), *received(deployment, "process")]
        return len(got)

    deployment.until(lambda: count() == processes, what=f"{processes} listeners")


@pytest.mark.parametrize(("pool", "processes"), [("prefork", 2), ("threads", 1), ("solo", 1)])
def test_every_worker_and_pool_process_gets_each_event_once(
    deployment: Any, pool: str, processes: int
) -> None:
    for _ in range(2):
        deployment.worker(app="broadcasting", pool=pool)
    ready(deployment, 2 + 2 * processes)
    sent = [f"e{n}" for n in range(30)]
    for data in sent:
        deployment.bus.emit("cache.invalidated", data)
    deployment.until_settled()

    def all_received() -> bool:
        got = {**received(deployment, "worker"), **received(deployment, "process")}
        return all(events[-1:] == sent[-1:] for events in got.values())

    deployment.until(all_received, what="all broadcasts")
    for scope, count in (("worker", 2), ("process", 2 * processes)):
        got = received(deployment, scope)
        assert len(got) == count
        for events in got.values():
            assert [data for data in events if data != "ready"] == sent
    noted = deployment.effects.lrange("effects:billing.note", 0, -1)
    assert sorted(data for data in noted if data != "ready") == sorted(sent)


def test_a_process_that_is_replaced_gets_later_events(deployment: Any) -> None:
    deployment.worker(app="broadcasting", options=("--max-tasks-per-child", "5"))
    ready(deployment, 3)
    first = set(received(deployment, "process"))

    def replaced() -> bool:
        deployment.bus.emit("cache.invalidated", "more")
        return len(received(deployment, "process")) > 2

    deployment.until(replaced, what="a new process")
    new = [events for key, events in received(deployment, "process").items() if key not in first]
    assert new and all("ready" not in events for events in new)
    [worker] = received(deployment, "worker").values()
    assert "more" in worker
