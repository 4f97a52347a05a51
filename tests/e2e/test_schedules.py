"""Each tick of a schedule is emitted once, whichever dispatchers are killed, and whenever."""

from __future__ import annotations

import random
import sys
import time
from typing import Any

import msgspec
import pytest

from celeriac.schedule import StoredSchedule, make_schedule
from celeriac.testing.process_guard import GuardedProcess
from devtools.fork_server import fork_server
from tests.e2e.conftest import APP

DISPATCHERS, TICKS, EVERY_MS = 10, 1000, 60_000
RUN = "from celeriac.cli import main; main()"


def start_dispatcher(deployment: Any, number: int) -> GuardedProcess:
    with (deployment.directory / f"dispatcher-{number}.log").open("wb") as log:
        process = fork_server().popen(
            [sys.executable, "-c", RUN, "dispatcher", "-A", "ticking", "--processes", "1"],
            env={**deployment.environment, "CELERIAC_SERVICE": "clock"},
            cwd=APP,
            stdout=log,
            stderr=log,
        )
    deployment.stack.callback(kill, process)
    return process


def kill(process: GuardedProcess) -> None:
    """SIGKILL, and wait for its end."""
    process.kill_group()
    process.wait(10)


@pytest.mark.timeout(300)
def test_ten_dispatchers_killed_at_random_emit_each_of_a_thousand_ticks_once(
    deployment: Any,
) -> None:
    """The clock is a thousand minutes ahead of the schedule."""
    backend = deployment.bus.service.backend
    schedule = make_schedule("tick.missed", service="clock", every=60, missed="all")
    now = backend.registry.now_ms()
    first = (now // EVERY_MS - TICKS) * EVERY_MS
    backend.event_log.register_domains(["tick"])
    backend.schedules.declare(schedule, first)

    def stored() -> StoredSchedule:
        found: list[StoredSchedule] = backend.schedules.all(["tick"])
        return found[0]

    running = {n: start_dispatcher(deployment, n) for n in range(DISPATCHERS)}
    choose, kills, started = random.Random(1), 0, DISPATCHERS
    deadline = time.monotonic() + 240
    while stored().next_ms <= backend.registry.now_ms():
        assert time.monotonic() < deadline, (stored(), kills)
        time.sleep(choose.uniform(0, 0.1))
        if stored().fired == 0:
            continue
        victim = choose.choice(sorted(running))
        kill(running.pop(victim))
        kills += 1
        running[started] = start_dispatcher(deployment, started)
        started += 1
    for process in running.values():
        kill(process)

    entries = backend.event_log.read("tick", count=10 * TICKS)
    ids = [msgspec.json.decode(entry.body or b"")["id"] for entry in entries]
    last = stored().last_ms
    assert ids == [schedule.event_id(at) for at in range(first, last + 1, EVERY_MS)]
    assert len(ids) >= TICKS and stored().fired == len(ids)
    assert kills >= 10


@pytest.mark.timeout(180)
def test_ticks_continue_through_restarts_of_everything(deployment: Any) -> None:
    deployment.worker(service="reports", app="ticking", processes=1)
    deployment.worker(service="reports", app="ticking", processes=1)
    backend = deployment.bus.service.backend

    def handled() -> list[str]:
        found: list[str] = deployment.effects.lrange("seconds", 0, -1)
        return found

    def wait_for_more(count: int = 2) -> None:
        there = len(handled()) + count
        deployment.until(lambda: len(handled()) >= there, what=f"{there} ticks")

    wait_for_more()
    deployment.workers[0].kill()
    wait_for_more()
    deployment.server.stop()
    deployment.server.start()
    wait_for_more()
    deployment.workers[1].kill()
    time.sleep(3)
    deployment.worker(service="reports", app="ticking", processes=1)
    wait_for_more(4)
    deployment.workers[2].stop()

    [stored] = backend.schedules.all(["second"])
    entries = backend.event_log.read("second", count=10_000)
    ids = [msgspec.json.decode(entry.body or b"")["id"] for entry in entries]
    assert len(set(ids)) == len(ids) == stored.fired
    schedule = make_schedule("second.passed", service="reports", every=1, missed="all")
    first = stored.last_ms - 1000 * (len(ids) - 1)
    assert ids == [schedule.event_id(at) for at in range(first, stored.last_ms + 1, 1000)]
    assert set(handled()) <= set(ids)
