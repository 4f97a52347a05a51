"""One handler under each setting and start option that an existing Celery app may have.

Each row starts a worker of an app that was configured so. Its handler must process every event
once, with the data that was emitted, also one that fails at first and one that takes seconds.
Otherwise the start fails, or a WARNING and the doctor report that the handler does not run.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import pytest
import redis

from celeriac import EventBus
from celeriac.cli.doctor.finding import BusSnapshot
from celeriac.cli.doctor.services import check_workers
from celeriac.testing.process_guard import guarded_popen
from celeriac.testing.server import start_server
from celeriac.tracking import DeliveryState

APP = Path(__file__).parent / "app"
AT_ONCE = 6
TEXT = "Ünïcode \u2028 and 'quotes'"
WITHIN = 60.0


@dataclass(frozen=True)
class Row:
    """`configuration` is Python on `app`; `options` are those of `celery worker`, in which SERVICE
    is the name of the service and its queue. `seconds` is how long the last event takes.

    With `error`, the start fails with that message. If it is not `served`, the worker does not run
    the handler, warns of it, and the doctor finds it.
    """

    name: str
    configuration: str = ""
    options: str = "-P solo"
    seconds: float = 0.0
    error: str = ""
    served: bool = True


PREFORK = "-P prefork -c 1"
SLOW = 1.6  # seconds; longer than the limits of the rows

ROWS = (
    # limits, which are meant for the app's own tasks
    Row("task_time_limit", "app.conf.task_time_limit = 1", PREFORK, SLOW),
    Row("task_soft_time_limit", "app.conf.task_soft_time_limit = 1", PREFORK, SLOW),
    Row("--time-limit", "", f"{PREFORK} --time-limit 1", SLOW),
    Row("--soft-time-limit", "", f"{PREFORK} --soft-time-limit 1", SLOW),
    Row(
        "task_annotations",
        "app.conf.task_annotations = {'*': {'rate_limit': '1/h', 'autoretry_for': (Exception,),"
        " 'max_retries': 0, 'acks_late': True, 'time_limit': 1, 'priority': 3}}",
        PREFORK,
        SLOW,
    ),
    Row("task_default_rate_limit", "app.conf.task_default_rate_limit = '1/h'"),
    Row("worker_disable_rate_limits", "app.conf.worker_disable_rate_limits = True"),
    Row("task_cls", "app.task_cls = Retrying", PREFORK, SLOW),
    # serializers
    Row(
        "task_serializer pickle",
        "app.conf.update(task_serializer='pickle', accept_content=['pickle'])",
    ),
    Row("accept_content of types", "app.conf.accept_content = ['application/json']"),
    Row(
        "accept_content without a serializer",
        "app.conf.accept_content = ['application/x-own']",
        error="accept_content has no serializer for celeriac's tasks",
    ),
    Row("result_serializer", "app.conf.update(result_serializer='pickle', result_backend=URL)"),
    Row("task_compression", "app.conf.update(task_compression='gzip', result_compression='gzip')"),
    Row("task_protocol", "app.conf.task_protocol = 1"),
    # routes and queues
    Row("task_routes of a dict", "app.conf.task_routes = {'*': {'queue': 'elsewhere'}}"),
    Row(
        "task_routes of a list",
        "app.conf.task_routes = [('s*.*', {'queue': 'elsewhere', 'exchange': 'elsewhere'})]",
    ),
    Row(
        "task_routes of a function",
        "app.conf.task_routes = lambda *a, **k: {'queue': 'elsewhere', 'priority': 3}",
    ),
    Row("task_queues", "app.conf.task_queues = [kombu.Queue('own', routing_key='own.#')]"),
    Row(
        "task_queues that name the handlers' queue",
        "app.conf.task_queues = [kombu.Queue(SERVICE, kombu.Exchange('own', 'topic'),"
        " routing_key='own.#')]",
    ),
    Row("task_create_missing_queues", "app.conf.task_create_missing_queues = False"),
    Row(
        "task_default_queue",
        "app.conf.update(task_default_queue='own', task_default_exchange='own',"
        " task_default_exchange_type='topic', task_default_routing_key='own',"
        " task_default_delivery_mode='transient', task_default_priority=3)",
    ),
    Row("task_default_queue is the service", "app.conf.task_default_queue = SERVICE"),
    Row("task_queue_max_priority", "app.conf.task_queue_max_priority = 10"),
    Row("-Q with the queue", "", "-P solo -Q celery,SERVICE"),
    Row("-Q without the queue", "", "-P solo -Q celery", served=False),
    Row("-X of another queue", "", "-P solo -X celery"),
    Row("-X of the queue", "", "-P solo -X SERVICE", served=False),
    # eagerness, acknowledgement and results
    Row(
        "task_always_eager",
        "app.conf.update(task_always_eager=True, task_eager_propagates=True,"
        " task_store_eager_result=True, result_backend=URL)",
    ),
    Row(
        "task_acks_late",
        "app.conf.update(task_acks_late=True, task_reject_on_worker_lost=True,"
        " task_acks_on_failure_or_timeout=False, broker_transport_options="
        "{'visibility_timeout': 1})",
        PREFORK,
        SLOW,
    ),
    Row(
        "worker_deduplicate_successful_tasks",
        "app.conf.update(worker_deduplicate_successful_tasks=True, task_acks_late=True,"
        " result_backend=URL, result_persistent=True)",
    ),
    Row("task_ignore_result", "app.conf.update(task_ignore_result=True, result_backend=URL)"),
    Row(
        "result_backend",
        "app.conf.update(result_backend=URL, result_extended=True, task_track_started=True,"
        " task_store_errors_even_if_ignored=True, result_expires=1)",
    ),
    Row("result_backend disabled", "app.conf.result_backend = 'disabled://'"),
    # names
    Row(
        "a task that is named as the handler",
        "def own() -> None: ...\napp.task(own, name=f'{SERVICE}.handle')",
        error=".handle: the Celery app",
    ),
    Row("another bus of the service", "celeriac.EventBus(app)"),
    Row(
        "another bus of the service with other settings",
        "celeriac.EventBus(app, lease=9)",
        error="lease (9.0 and 30.0)",
    ),
    # the broker
    Row("broker_url of a list", "app.conf.broker_url = [URL, 'redis://127.0.0.1:1/0']"),
    Row(
        "broker_read_url",
        "app.conf.update(broker_url=None, broker_read_url=URL, broker_write_url=URL)",
    ),
    Row(
        "visibility_timeout",
        "app.conf.broker_transport_options = {'visibility_timeout': 1}",
        seconds=SLOW,
    ),
    Row(
        "global_keyprefix",
        "app.conf.broker_transport_options = {'global_keyprefix': f'{SERVICE}:'}",
    ),
    Row(
        "priority_steps",
        "app.conf.update(task_default_priority=5, broker_transport_options="
        "{'queue_order_strategy': 'priority', 'priority_steps': [0, 5], 'sep': ':'})",
    ),
    Row("broker_pool_limit", "app.conf.broker_pool_limit = None"),
    # the worker
    Row("worker_prefetch_multiplier 0", "app.conf.worker_prefetch_multiplier = 0"),
    Row("worker_prefetch_multiplier 64", "app.conf.worker_prefetch_multiplier = 64"),
    Row("worker_max_tasks_per_child", "app.conf.worker_max_tasks_per_child = 1", PREFORK),
    Row("worker_max_memory_per_child", "app.conf.worker_max_memory_per_child = 1", PREFORK),
    Row("--max-tasks-per-child", "", f"{PREFORK} --max-tasks-per-child 1"),
    Row(
        "worker_send_task_events",
        "app.conf.update(worker_send_task_events=True, task_send_sent_event=True)",
    ),
    Row("worker_enable_remote_control", "app.conf.worker_enable_remote_control = False"),
    Row(
        "worker_hijack_root_logger",
        "app.conf.update(worker_hijack_root_logger=False, worker_redirect_stdouts=False)",
    ),
    Row("worker_soft_shutdown_timeout", "app.conf.worker_soft_shutdown_timeout = 2"),
    Row("timezone", "app.conf.update(timezone='Asia/Kathmandu', enable_utc=False)"),
    Row(
        "config_from_object with a namespace",
        "app.config_from_object({'CELERY_TASK_SOFT_TIME_LIMIT': 1, 'CELERY_BROKER_URL': URL,"
        " 'CELERY_TASK_ALWAYS_EAGER': True}, namespace='CELERY')",
        PREFORK,
        SLOW,
    ),
    Row(
        "-B",
        "app.conf.beat_schedule = {'often': {'task': f'{SERVICE}.beaten', 'schedule': 0.2}}",
        f"{PREFORK} -B -s beat",
    ),
    Row("-O fair", "", "-P prefork -c 2 -O fair"),
    Row("--autoscale", "", "-P prefork --autoscale 2,1"),
    Row("-P threads", "app.conf.task_time_limit = 1", "-P threads -c 4", SLOW),
    Row("-P gevent", "app.conf.task_time_limit = 1", "-P gevent -c 4", SLOW),
    Row("-E", "", "-P solo -E --purge --statedb state"),
    Row("--without-gossip", "", "-P solo --without-gossip --without-mingle --without-heartbeat"),
)


@dataclass(frozen=True)
class Outcome:
    """What became of a row's events, by the matrix and by the handler itself."""

    emitted: Mapping[str, str]
    states: Mapping[str, DeliveryState]
    effects: list[tuple[str, str]]
    log: str
    findings: str
    status: int | None


class Worker:
    """One of those that the preloaded process forks."""

    def __init__(self, log: Path) -> None:
        self.log = log

    @property
    def status(self) -> int | None:
        """None while it runs."""
        path = self.log.with_suffix(".status")
        return int(path.read_text()) if path.exists() else None

    def terminate(self) -> None:
        """Stops it warmly, and waits for that."""
        pid = self.log.with_suffix(".pid")
        _until(lambda: pid.exists() or self.status is not None)
        if self.status is None:
            os.kill(int(pid.read_text()), signal.SIGTERM)
        _until(lambda: self.status is not None)


class Run:
    """One worker for one row. All share a server; each has a service of its own."""

    def __init__(self, row: Row, number: int, url: str, directory: Path) -> None:
        self.row = row
        self.service = f"s{number}"
        self.url = url
        # Workers that run at the same time hear nothing of each other.
        self.broker_url = f"{url.removesuffix('/0')}/{2 + number % 14}"
        self.worker = Worker(directory / f"{self.service}.log")
        self.directory = directory
        self.bus = EventBus(service="tests", redis_url=url)
        self.effects: redis.Redis = redis.Redis.from_url(
            url.removesuffix("/0") + "/1", decode_responses=True
        )

    def outcome(self, start: Callable[[str], None]) -> Outcome:
        """Start the worker, emit, wait until all is processed, and stop it."""
        self.worker.log.touch()
        start(self._request())
        emitted = self._emit() if self._joined() else {}
        states = self._states(emitted)
        findings = "" if self.row.served or self.row.error else self._findings()
        self.worker.terminate()
        ran: list[str] = self.effects.lrange(f"effects:{self.service}", 0, -1)  # type: ignore[assignment]
        effects = [(id, text) for id, text in map(json.loads, ran)]
        return Outcome(emitted, states, effects, self._said(), findings, self.worker.status)

    def _request(self) -> str:
        options = self.row.options.replace("SERVICE", self.service).split()
        name = f"{self.service}@%h"
        arguments = ["-A", "configured", "worker", "-n", name, "--loglevel", "info", *options]
        environment = {
            "CELERIAC_REDIS_URL": self.url,
            "CELERIAC_SERVICE": self.service,
            "BROKER_URL": self.broker_url,
            "EFFECTS_URL": self.url.removesuffix("/0") + "/1",
            "CONFIGURATION": self.row.configuration,
            "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": str(APP),
            "C_FORCE_ROOT": "1",
        }
        request = {
            "arguments": arguments,
            "environment": environment,
            "directory": str(self.directory),
            "log": str(self.worker.log),
        }
        return json.dumps(request)

    def _said(self) -> str:
        return self.worker.log.read_text(errors="replace")

    def _findings(self) -> str:
        """What the doctor finds once the worker has warned."""
        _until(lambda: "no living worker runs" in self._said())
        backend = self.bus.service.backend
        snapshot = BusSnapshot(
            settings=self.bus.settings, servers={}, now_ms=backend.registry.now_ms(),
            clock_off_ms=0, handlers=backend.registry.handlers(),
            workers=backend.registry.workers(), lags=(), dead={},
        )  # fmt: skip
        return "\n".join(finding.text for finding in check_workers(snapshot))

    def _joined(self) -> bool:
        """Whether the handler gets events, and is registered, which follows."""
        log, handler = self.bus.service.backend.event_log, f"{self.service}.handle"
        registry = self.bus.service.backend.registry
        if not self.row.served:
            return False
        _until(
            lambda: (
                self.worker.status is not None
                or (
                    any(group.handler == handler for group in log.groups(self.service))
                    and handler in registry.handlers()
                )
            )
        )
        return self.worker.status is None

    def _emit(self) -> dict[str, str]:
        emit = self.bus.emit
        data: list[dict[str, Any]] = [{"text": TEXT, "seconds": 0, "fails": False}] * 2
        data.append({"text": "again", "seconds": 0, "fails": True})
        data.append({"text": "slow", "seconds": self.row.seconds, "fails": False})
        return {emit(f"{self.service}.happened", one): one["text"] for one in data}

    def _states(self, emitted: Mapping[str, str]) -> dict[str, DeliveryState]:
        matrix, states = self.bus.matrix, dict[str, DeliveryState]()

        def processed() -> bool:
            for id in emitted.keys() - {
                k for k, v in states.items() if v is DeliveryState.PROCESSED
            }:
                states[id] = matrix.status(id).cells[0].state
            return (
                set(states.values()) <= {DeliveryState.PROCESSED} or self.worker.status is not None
            )

        _until(processed)
        return states


def _until(holds: Callable[[], bool], seconds: float = WITHIN) -> None:
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.1)


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, Future[Outcome]]]:
    """The rows that are tested, several at once."""
    chosen: Any = [item for item in request.session.items if item.path == Path(__file__)]
    rows: list[Row] = [item.callspec.params["row"] for item in chosen]
    directory = tmp_path_factory.mktemp("settings")
    with ExitStack() as stack:
        server = stack.enter_context(start_server(directory))
        pipe = directory / "requests"
        os.mkfifo(pipe)
        preloaded = guarded_popen([sys.executable, str(APP / "preloaded.py"), str(pipe)])
        stack.callback(preloaded.wait, 10)
        stack.callback(preloaded.kill_group)
        lock = Lock()

        def start(request: str) -> None:
            with lock, pipe.open("a") as requests:
                print(request, file=requests)

        threads = stack.enter_context(ThreadPoolExecutor(AT_ONCE))
        yield {
            row.name: threads.submit(Run(row, number, server.url, directory).outcome, start)
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
    if not row.served:
        assert "no living worker runs" in outcome.log, log
        assert "does not run: no running worker" in outcome.findings, log
        assert outcome.status == 0, log
        return
    assert list(outcome.states.values()) == [DeliveryState.PROCESSED] * 4, log
    assert sorted(outcome.effects) == sorted(outcome.emitted.items()), log
    assert outcome.status == 0, log
