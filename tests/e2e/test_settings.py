"""One handler under each setting and start option that an existing Celery app may have.

Each row starts a worker of an app that was configured so. Its handler must process every event
once, with the data that was emitted, also one that fails at first and one that takes seconds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis

from celeriac import EventBus
from celeriac.dev.guard import guarded_popen
from celeriac.dev.server import start_server
from celeriac.matrix import Matrix, State

APP = Path(__file__).parent / "app"
AT_ONCE = 6
TEXT = "Ünïcode \u2028 and 'quotes'"
WITHIN = 30.0


@dataclass(frozen=True)
class Row:
    """`configuration` is Python on `app`; `options` are those of `celery worker`. `seconds` is how
    long the handler takes for the last event. `warning` is in the log, `error` ends the start."""

    name: str
    configuration: str = ""
    options: str = "-P solo"
    seconds: float = 0.0
    warning: str = ""
    error: str = ""


ROWS = (
    Row("task_time_limit", "app.conf.task_time_limit = 1", "-P prefork -c 1", seconds=2.5),
    Row("task_soft_time_limit", "app.conf.task_soft_time_limit = 1", "-P prefork -c 1", 2.5),
    Row("--time-limit", options="-P prefork -c 1 --time-limit 1", seconds=2.5),
    Row("--soft-time-limit", options="-P prefork -c 1 --soft-time-limit 1", seconds=2.5),
)


@dataclass(frozen=True)
class Outcome:
    """What became of a row's events, by the matrix and by the handler itself."""

    emitted: Mapping[str, str]
    states: Mapping[str, State]
    effects: list[tuple[str, str]]
    log: str
    status: int | None


class Run:
    """One worker for one row. All share a server; each has a service of its own."""

    def __init__(self, row: Row, number: int, url: str, directory: Path) -> None:
        self.row = row
        self.service = f"s{number}"
        self.url = url
        self.log = directory / f"{self.service}.log"
        self.directory = directory
        self.bus = EventBus(service="tests", redis_url=url)
        self.effects: redis.Redis = redis.Redis.from_url(
            url.removesuffix("/0") + "/1", decode_responses=True
        )

    def outcome(self) -> Outcome:
        """Start the worker, emit, wait until all is processed, and stop it."""
        command = [sys.executable, "-m", "celery", "-A", "configured", "worker"]
        command += ["-n", f"{self.service}@%h", "--loglevel", "info", *self.row.options.split()]
        environment = {
            **os.environ,
            "CELERIAC_REDIS_URL": self.url,
            "CELERIAC_SERVICE": self.service,
            "BROKER_URL": self.url.removesuffix("/0") + "/2",
            "EFFECTS_URL": self.url.removesuffix("/0") + "/1",
            "CONFIGURATION": self.row.configuration,
            "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": str(APP),
        }
        with self.log.open("wb") as out:
            process = guarded_popen(
                command, env=environment, cwd=self.directory, stdout=out, stderr=out
            )
        try:
            emitted = self._emit() if self._joined(process) else {}
            states = self._states(process, emitted)
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(30)
            status = process.returncode
        finally:
            process.kill_group()
            process.wait(10)
        ran: list[str] = self.effects.lrange(f"effects:{self.service}", 0, -1)  # type: ignore[assignment]
        effects = [(id, text) for id, text in map(json.loads, ran)]
        return Outcome(emitted, states, effects, self.log.read_text(errors="replace"), status)

    def _joined(self, process: Any) -> bool:
        log, handler = self.bus.service.backend.log, f"{self.service}.handle"
        _until(
            lambda: (
                process.poll() is not None
                or any(group.handler == handler for group in log.groups(self.service))
            )
        )
        return process.poll() is None

    def _emit(self) -> dict[str, str]:
        emit = self.bus.emit
        data: list[dict[str, Any]] = [{"text": TEXT, "seconds": 0, "fails": False}] * 2
        data.append({"text": "again", "seconds": 0, "fails": True})
        data.append({"text": "slow", "seconds": self.row.seconds, "fails": False})
        return {emit(f"{self.service}.happened", one): one["text"] for one in data}

    def _states(self, process: Any, emitted: Mapping[str, str]) -> dict[str, State]:
        matrix, states = Matrix(self.bus.service.backend), dict[str, State]()

        def processed() -> bool:
            for id in emitted.keys() - {k for k, v in states.items() if v is State.PROCESSED}:
                states[id] = matrix.status(id).cells[0].state
            return set(states.values()) <= {State.PROCESSED} or process.poll() is not None

        _until(processed)
        return states


def _until(holds: Callable[[], bool], seconds: float = WITHIN) -> None:
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.05)


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, Future[Outcome]]]:
    """The rows that are to be tested, several at once."""
    chosen: Any = [item for item in request.session.items if item.path == Path(__file__)]
    rows: list[Row] = [item.callspec.params["row"] for item in chosen]
    directory = tmp_path_factory.mktemp("settings")
    with ExitStack() as stack:
        server = stack.enter_context(start_server(directory))
        threads = stack.enter_context(ThreadPoolExecutor(AT_ONCE))
        yield {
            row.name: threads.submit(Run(row, number, server.url, directory).outcome)
            for number, row in enumerate(rows)
        }


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_handler_processes_each_event_once(
    row: Row, outcomes: Mapping[str, Future[Outcome]]
) -> None:
    outcome = outcomes[row.name].result()
    log = outcome.log[-4000:]
    if row.error:
        assert (outcome.emitted, bool(outcome.status)) == ({}, True), log
        assert row.error in outcome.log, log
        return
    assert list(outcome.states.values()) == [State.PROCESSED] * 4, log
    assert sorted(outcome.effects) == sorted(outcome.emitted.items()), log
    assert row.warning in outcome.log, log
    assert outcome.status == 0, log
