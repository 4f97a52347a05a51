"""Real workers on a real server. Each test has a server of its own, so it may stop and kill it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import redis

from celeriac import EventBus
from celeriac.testing.process_guard import GuardedProcess, guarded_popen
from celeriac.testing.server import EmbeddedServer, start_server
from celeriac.tracking import Matrix
from devtools.fork_server import fork_server
from devtools.rabbitmq import EmbeddedRabbit, find_rabbitmq

APP = Path(__file__).parent / "app"


def pytest_itemcollected(item: pytest.Item) -> None:
    """Called by pytest for the items of this folder only."""
    item.add_marker(pytest.mark.e2e)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests marked `brokers` run with Celery's queues in Redis, and again in RabbitMQ."""
    if metafunc.definition.get_closest_marker("brokers"):
        metafunc.parametrize("broker_url", ["redis", "rabbitmq"], indirect=True)


@pytest.fixture(scope="session")
def rabbit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRabbit]:
    """A RabbitMQ node of this session. CI must have RabbitMQ; elsewhere its tests are skipped."""
    if find_rabbitmq() is None and not os.environ.get("CI"):
        pytest.skip("RabbitMQ is not installed: `apt-get install rabbitmq-server`")
    with EmbeddedRabbit(tmp_path_factory.mktemp("rabbit")) as node:
        node.start()
        yield node


@pytest.fixture
def broker_url(request: pytest.FixtureRequest) -> str:
    """Empty where the broker is the bus's own Redis."""
    if getattr(request, "param", "redis") == "redis":
        return ""
    node: EmbeddedRabbit = request.getfixturevalue("rabbit")
    return node.vhost(f"test{time.monotonic_ns()}")


@dataclass
class Worker:
    """One `celery worker` process."""

    process: GuardedProcess
    log: Path

    def kill(self) -> None:
        """SIGKILL to the whole process group."""
        self.process.kill_group()

    def end(self) -> None:
        self.process.kill_group()
        self.process.wait(30)

    def stop(self, timeout: float = 60) -> int:
        """Warm shutdown."""
        self.process.terminate()
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            pytest.fail(f"not stopped within {timeout} s\n{self.said()[-3000:]}")

    def said(self) -> str:
        return self.log.read_text(errors="replace")


@dataclass
class Deployment:
    """A server, the workers started on it, and what their handlers did."""

    server: EmbeddedServer
    directory: Path
    stack: ExitStack
    lease: float = 3.0
    broker_url: str = ""
    workers: list[Worker] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)  # of the environment, in addition

    @property
    def effects(self) -> redis.Redis:
        client: redis.Redis = redis.Redis.from_url(
            self.server.url.removesuffix("/0") + "/1", decode_responses=True
        )
        return client

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "CELERIAC_REDIS_URL": self.server.url,
            "CELERIAC_BROKER_URL": self.broker_url,
            "EFFECTS_URL": self.server.url.removesuffix("/0") + "/1",
            "LEASE": str(self.lease),
            "PYTHONUNBUFFERED": "1",
            **self.variables,
        }

    @property
    def bus(self) -> EventBus:
        bus: EventBus = EventBus(service="tests", redis_url=self.server.url, lease=self.lease)
        return bus

    @property
    def matrix(self) -> Matrix:
        return self.bus.matrix

    def worker(
        self,
        service: str = "billing",
        *,
        pool: str = "prefork",
        processes: int = 2,
        app: str = "services",
        options: tuple[str, ...] = (),
    ) -> Worker:
        """Starts a worker of the service, and waits until it beats."""
        worker = self.start_worker(
            service, pool=pool, processes=processes, app=app, options=options
        )
        registry = self.bus.service.backend.registry
        self.until(
            lambda: (
                any(w.pid == worker.process.pid for w in registry.workers())
                or worker.process.poll() is not None
            ),
            what=f"{service} to beat",
        )
        assert worker.process.poll() is None, worker.said()
        return worker

    def start_worker(
        self,
        service: str = "billing",
        *,
        pool: str = "prefork",
        processes: int = 2,
        app: str = "services",
        options: tuple[str, ...] = (),
    ) -> Worker:
        """Starts a worker of the service, without waiting for it."""
        log = self.directory / f"{service}-{len(self.workers)}.log"
        command = [sys.executable, "-m", "celery", "-A", app, "worker", "-P", pool]
        command += ["-c", str(processes), "-n", f"{service}{len(self.workers)}@%h"]
        command += ["--loglevel", "info", "--without-mingle", "--without-gossip", *options]
        environment = {**self.environment, "CELERIAC_SERVICE": service}
        # gevent patches modules before anything imports them.
        start = guarded_popen if pool == "gevent" else fork_server().popen
        with log.open("wb") as out:
            process = start(command, env=environment, cwd=APP, stdout=out, stderr=out)
        worker = Worker(process, log)
        self.workers.append(worker)
        self.stack.callback(worker.end)
        return worker

    def joined(self, handler: str, domain: str) -> None:
        """Waits until the handler has its group on the domain."""
        log = self.bus.service.backend.event_log
        self.until(lambda: any(g.handler == handler for g in log.groups(domain)), what=handler)

    def missing(self) -> int:
        """Deliveries that should be somewhere, and are not."""
        return self.matrix.totals().missing

    def runs(self, handler: str) -> Counter[str]:
        """How often the handler ran on each event."""
        found: list[str] = self.effects.lrange(f"effects:{handler}", 0, -1)  # type: ignore[assignment]
        return Counter(found)

    def until(self, holds: Callable[[], bool], *, what: str = "", seconds: float = 60) -> None:
        """Polls until it holds; the workers' logs are in the failure."""
        deadline = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > deadline:
                said = "\n".join(f"--- {w.log.name}\n{w.said()[-3000:]}" for w in self.workers)
                pytest.fail(f"waited {seconds} s in vain for {what or holds}\n{said}")
            time.sleep(0.02)

    def until_settled(self, seconds: float = 60) -> None:
        """Until no delivery is waiting or in flight."""

        log = self.bus.service.backend.event_log

        def settled() -> bool:
            groups = [g for domain in log.domains() for g in log.groups(domain)]
            return all(g.lag == 0 and g.pending == 0 for g in groups)

        self.until(settled, what="all deliveries to be settled", seconds=seconds)


@pytest.fixture
def is_full(request: pytest.FixtureRequest) -> bool:
    """Whether a test that kills again and again does it as often as every night."""
    return bool(request.config.getoption("full"))


@pytest.fixture
def deployment(tmp_path: Path, broker_url: str) -> Iterator[Deployment]:
    with ExitStack() as stack:
        data = tmp_path / "data"
        data.mkdir()
        server = stack.enter_context(start_server(data))
        yield Deployment(server, tmp_path, stack, broker_url=broker_url)
