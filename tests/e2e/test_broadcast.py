"""Broadcasts reach every worker and pool process that lives, on each pool."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner

from celeriac.cli.root import main
from celeriac.registry import live_broadcasts


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
    listed = live_broadcasts(deployment.bus.service.backend.registry.workers())
    assert {each.scope: each.instances for each in listed} == {
        "worker": 2, "process": 2 * processes,
    }  # fmt: skip


def test_a_process_that_is_replaced_gets_later_events(deployment: Any) -> None:
    """Each process gets every event from the one on that it begins with, the worker all of them."""
    deployment.worker(app="broadcasting", options=("--max-tasks-per-child", "5"))
    sent: list[str] = []

    def emit() -> None:
        sent.append(f"e{len(sent)}")
        deployment.bus.emit("cache.invalidated", sent[-1])

    def is_replaced() -> bool:
        """Not after `ready`: its events are tasks too, and replace a process at any time."""
        emit()
        return len(received(deployment, "process")) > 2

    deployment.until(is_replaced, what="a new process")

    def has_last() -> bool:
        return any(events[-1] == sent[-1] for events in received(deployment, "worker").values())

    deployment.until(has_last, what="the last event in the worker")
    lists = [*received(deployment, "worker").values(), *received(deployment, "process").values()]
    for events in lists:
        first = sent.index(events[0])
        assert events == sent[first : first + len(events)]
    # The pool has two processes, so the third one took the place of one that had run five tasks.
    begins = sorted(sent.index(e[0]) for e in received(deployment, "process").values())
    assert begins[2] >= 5


@pytest.mark.parametrize(("pool", "processes"), [("prefork", 2), ("solo", 1)])
def test_a_worker_with_broadcasts_only_gets_them_and_is_healthy(
    deployment: Any, pool: str, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROADCASTS_ONLY", "1")
    worker = deployment.worker(app="broadcasting", pool=pool)
    ready(deployment, 1 + processes)
    sent = [f"e{n}" for n in range(10)]
    ids = [deployment.bus.emit("cache.invalidated", data) for data in sent]

    def all_received() -> bool:
        got = {**received(deployment, "worker"), **received(deployment, "process")}
        return all(events[-1:] == sent[-1:] for events in got.values())

    deployment.until(all_received, what="all broadcasts")
    for scope, count in (("worker", 1), ("process", processes)):
        got = received(deployment, scope)
        assert len(got) == count
        for events in got.values():
            assert [data for data in events if data != "ready"] == sent

    report = json.loads(command(deployment, "doctor", "--json"))
    assert report["healthy"]
    of_workers = [each for each in report["findings"] if each["check"] in ("worker", "handler")]
    assert [(each["level"], each["text"]) for each in of_workers] == [
        ("ok", f"billing: 1 worker, {processes} process{'es' if processes > 1 else ''}")
    ]
    assert command(deployment, "status", ids[0]).endswith("No handler is subscribed to it.\n")
    assert "broadcast=process" in command(deployment, "handlers")
    assert worker.stop() == 0
    assert "ERROR" not in worker.said() and "Traceback" not in worker.said()


def command(deployment: Any, *arguments: str) -> str:
    """Run `celeriac` on the server of the deployment; return what it printed."""
    result = CliRunner(env={"CELERIAC_REDIS_URL": deployment.server.url}).invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return str(result.stdout)
