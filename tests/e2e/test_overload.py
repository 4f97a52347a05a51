"""Overload, with real workers: what is bounded, and which handlers it does not slow down."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import redis

from celeriac.circuit_breaker import CircuitState
from celeriac.delivery import Completion, Failure, FetchRequest, Group, Outcome
from celeriac.event import read_header
from celeriac.registry import HandlerRecord

# Measures latency or a rate.
quiet = pytest.mark.quiet

MB = 1_000_000


def rss(pid: int) -> int:
    """Resident memory of a process in bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE")


def children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in listed.split()]


def latencies(deployment: Any, service: str) -> list[float]:
    return sorted(map(float, deployment.effects.lrange(f"latency:{service}", 0, -1)))


def emit_steadily(deployment: Any, seconds: float, per_second: int = 20) -> int:
    """Emits quick events at a rate; returns how many."""
    sent, started = 0, time.monotonic()
    while (passed := time.monotonic() - started) < seconds:
        if sent < passed * per_second:
            deployment.bus.emit("quick.one", {"sent": time.time()})
            sent += 1
        time.sleep(0.005)
    return sent


def warm(deployment: Any, *services: str) -> None:
    """Lets the quick handlers be measured."""
    for _ in range(5):
        deployment.bus.emit("quick.one", {"sent": time.time()})
    for service in services:
        deployment.until(lambda s=service: len(latencies(deployment, s)) == 5, what="warming")
        deployment.effects.delete(f"latency:{service}")


@quiet
def test_a_slow_handler_with_a_backlog_delays_no_other(deployment: Any) -> None:
    """It sleeps 5 s for each event, and shares two processes with a fast one. Another service,
    with processes of its own, is touched even less."""
    deployment.worker(app="overload")
    deployment.worker("shipping", app="overload", processes=1)
    deployment.joined("billing.slow", "slow")
    deployment.joined("shipping.quick", "quick")
    warm(deployment, "billing", "shipping")
    deployment.bus.emit_many([("slow.one", {})] * 40)
    deployment.until(lambda: len(deployment.runs("billing.slow")) >= 1, what="the slow one")
    sent = emit_steadily(deployment, 7)
    for service in ("billing", "shipping"):
        deployment.until(
            lambda s=service: len(latencies(deployment, s)) == sent, what=service, seconds=10
        )
        found = latencies(deployment, service)
        assert found[int(0.95 * len(found))] < 0.5, service
    assert 2 <= len(deployment.runs("billing.slow")) <= 4


@quiet
def test_slow_events_leave_a_process_free_in_each_of_two_workers(deployment: Any) -> None:
    """Were two of them in one worker, what it had fetched for its processes would wait there for
    both, though the other worker has nothing to do."""
    for _ in range(2):
        deployment.worker(app="overload")
    deployment.joined("billing.slow", "slow")
    warm(deployment, "billing")
    deployment.bus.emit_many([("slow.one", {})] * 40)
    deployment.until(lambda: len(deployment.runs("billing.slow")) >= 3, what="the slow ones")
    sent = emit_steadily(deployment, 12)
    deployment.until(lambda: len(latencies(deployment, "billing")) == sent, what="quick ones")
    found = latencies(deployment, "billing")
    assert (found[-1] < 2.5, found[int(0.95 * len(found))] < 0.5) == (True, True)
    # Both do their part, and neither more than that.
    assert {*deployment.effects.lrange("slow at once", 0, -1)} == {"1"}
    assert 6 <= len(deployment.runs("billing.slow")) <= 8


@quiet
def test_a_quick_event_waits_for_one_slow_one_where_a_worker_has_one_process(
    deployment: Any,
) -> None:
    """A backlog of slow ones is not put before it."""
    deployment.worker(app="overload", processes=1)
    deployment.joined("billing.slow", "slow")
    warm(deployment, "billing")
    deployment.bus.emit_many([("slow.one", {})] * 40)
    deployment.until(lambda: len(deployment.runs("billing.slow")) >= 2, what="the second slow one")
    deployment.bus.emit("quick.one", {"sent": time.time()})
    deployment.until(lambda: latencies(deployment, "billing"), what="the quick one", seconds=60)
    assert latencies(deployment, "billing")[0] < 6


@quiet
def test_a_handler_that_turns_slow_lets_others_through_after_one_event(deployment: Any) -> None:
    """It was fast, so chunks of many events are under way with it when what it calls hangs."""
    deployment.worker(app="overload")
    deployment.joined("billing.turning", "turning")
    warm(deployment, "billing")
    deployment.bus.emit_many([("turning.one", {})] * 2000)
    deployment.until(lambda: len(deployment.runs("billing.turning")) > 200, what="full flow")
    deployment.effects.set("hangs", 1)
    time.sleep(4)
    sent = emit_steadily(deployment, 5)
    deployment.until(lambda: len(latencies(deployment, "billing")) == sent, what="quick ones")
    found = latencies(deployment, "billing")
    assert found[int(0.95 * len(found))] < 0.5
    deployment.effects.delete("hangs")
    deployment.until_settled()
    assert set(deployment.runs("billing.turning").values()) == {1}
    assert len(deployment.runs("billing.turning")) == 2000


@pytest.mark.timeout(300)
def test_a_backlog_fills_the_log_and_nothing_else(deployment: Any) -> None:
    """A hundred thousand events: no process grows with them, and no queue of Celery's."""
    worker = deployment.worker(app="overload")
    deployment.joined("billing.bulk", "bulk")
    deployment.bus.emit_many([("bulk.one", {})] * 2000)
    deployment.until_settled()
    own, main = rss(os.getpid()), rss(worker.process.pid)
    pool = [rss(child) for child in children(worker.process.pid)]
    queue: redis.Redis = redis.Redis.from_url(deployment.server.url)
    assert deployment.bus.emit_many(("bulk.one", {"n": n}) for n in range(100_000)) == 100_000
    assert rss(os.getpid()) - own < 50 * MB
    longest = grown = child_grown = 0

    def settled() -> bool:
        nonlocal longest, grown, child_grown
        longest = max(longest, int(queue.llen("billing")))
        grown = max(grown, rss(worker.process.pid) - main)
        now = [rss(child) for child in children(worker.process.pid)]
        child_grown = max(child_grown, max(now) - min(pool))
        [group] = [
            g
            for g in deployment.bus.service.backend.event_log.groups("bulk")
            if g.handler == "billing.bulk"
        ]
        return bool(group.lag == 0 and group.pending == 0)

    deployment.until(settled, what="the backlog", seconds=160)
    assert longest <= 40
    assert grown < 50 * MB
    assert child_grown < 50 * MB


MEASURED = """
import resource, sys
from celeriac.cli import main

try:
    main()
except SystemExit as ended:
    assert ended.code in (0, 1, None), ended.code
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, file=sys.stderr)
"""


def peak(deployment: Any, *command: str) -> int:
    """The most memory that the command had, in bytes."""
    run = subprocess.run(
        [sys.executable, "-c", MEASURED, *command],
        env=deployment.environment, capture_output=True, timeout=100,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return int(run.stderr.split()[-1])


def test_commands_that_read_stay_small_whatever_there_is_to_read(deployment: Any) -> None:
    """A backlog of a hundred thousand events, and dead letters of 60 MB."""
    backend, group = deployment.bus.service.backend, Group("bulk", "billing.bulk")
    backend.registry.register(
        HandlerRecord(
            id=group.handler, service="billing", patterns=("bulk.#",), queue="billing",
            since={"bulk": "0-0"},
        )
    )  # fmt: skip
    backend.event_log.join(group.domain, group.handler, "0")
    commands = [
        ("lag",),
        ("doctor",),
        ("events", "--limit", "20"),
        ("dead", "list", "--error", "of another kind"),
    ]
    before = {command: peak(deployment, *command) for command in commands}
    deployment.bus.emit_many(("bulk.one", {"n": n}) for n in range(100_000))
    for _ in range(15):
        [taken] = backend.deliveries.fetch("w", [FetchRequest(group, 200)])
        named = [(d.entry, read_header(d.body or b"").key) for d in taken.deliveries]
        claimed = backend.deliveries.claim("w", group, named, 5)
        keys = dict(named)
        failure = Failure(attempt=1, at=1, error="ValueError: no")
        backend.deliveries.complete(
            "w",
            group,
            [
                Completion(
                    one.entry, keys[one.entry], one.attempt, Outcome.DEAD, failure=failure,
                    traceback="x" * 20_000,
                )
                for one in claimed
            ],
        )  # fmt: skip
    assert backend.deliveries.dead_count("bulk") == 3000
    for command in commands:
        assert peak(deployment, *command) - before[command] < 60 * MB, command


@quiet
def test_a_rate_holds_over_two_workers_and_a_restart(deployment: Any) -> None:
    """20 a second, with a burst of one second's worth at the beginning."""
    first = deployment.worker(app="overload", processes=1)
    deployment.worker(app="overload", processes=1)
    deployment.joined("billing.rated", "rated")
    deployment.bus.emit_many([("rated.one", {})] * 200)
    deployment.until(lambda: deployment.effects.llen("rated") > 60, what="the flow")
    first.kill()
    deployment.worker(app="overload", processes=1)
    deployment.until(lambda: deployment.effects.llen("rated") >= 200, what="all", seconds=60)
    times = sorted(map(float, deployment.effects.lrange("rated", 0, -1)))
    assert times[-1] - times[0] >= (200 - 20) / 20 - 0.5
    most = max(sum(start <= t < start + 1 for t in times) for start in times)
    assert most <= 20 + 20 + 5
    assert deployment.effects.scard("rated by") >= 2


def test_concurrency_holds_over_two_workers(deployment: Any) -> None:
    deployment.worker(app="overload")
    deployment.worker(app="overload")
    deployment.joined("billing.few", "few")
    deployment.bus.emit_many([("few.one", {})] * 60)
    deployment.until(lambda: deployment.effects.llen("few") >= 60, what="all of them")
    at_once = {int(n) for n in deployment.effects.lrange("few", 0, -1)}
    assert at_once == {1, 2}


def test_a_breaker_pauses_a_failing_handler_in_all_workers(deployment: Any) -> None:
    """While the gateway is down, a few of a hundred events are tried; once it is up, all are
    processed, without a dead letter and without an operator."""
    deployment.worker(app="overload")
    deployment.worker(app="overload")
    deployment.joined("billing.frail", "frail")
    backend = deployment.bus.service.backend
    events = [deployment.bus.event("frail.one") for _ in range(100)]
    began = time.monotonic()
    deployment.bus.emit_many(events)
    deployment.until(
        lambda: backend.circuits.get("billing.frail").state is not CircuitState.CLOSED,
        what="the circuit to open",
    )
    time.sleep(3.5)
    # The circuit opens after three failures and goes half-open after each second. Each time, each
    # of the four processes may have begun one call. Without a breaker there are 300.
    openings = 1 + int(time.monotonic() - began)
    tried = deployment.runs("billing.frail")
    assert sum(tried.values()) <= 3 + 4 * openings
    assert backend.deliveries.dead_count("frail") == 0
    assert "ConnectionError" in backend.circuits.get("billing.frail").reason
    deployment.effects.set("mended", 1)
    deployment.until(
        lambda: set(deployment.runs("billing.frail")) == {e.id for e in events}, what="all"
    )
    deployment.until_settled()
    # The calls of a task are reported after its completions.
    deployment.until(lambda: backend.circuits.all() == {}, what="the circuit to close")
    assert backend.deliveries.dead_count("frail") == 0
