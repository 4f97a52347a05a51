"""The example services in Node and Go at a real gateway: killed, restarted, and nothing is lost."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from celeriac.event import decode
from celeriac.testing.ports import free_port
from celeriac.testing.process_guard import GuardedProcess, guarded_popen
from tests.conftest import missing
from tests.http_endpoint import Answered, HttpEndpoint, Received, http_endpoint

# The example in Go is compiled for each test.
pytestmark = pytest.mark.timeout(240)

EXAMPLES = Path(__file__).parents[2] / "examples"
TOKEN = "secret-of-a-service-in-another-language"
CONFIG = """
[tokens.{service}]
secret = {{ env = "GATEWAY_TOKEN" }}
handlers = ["{service}.*"]
types = ["{service}.*"]
"""
LEASE = 3


class Fleet:
    """Gateways and instances of one example service."""

    def __init__(self, deployment: Any, language: str, endpoint: HttpEndpoint) -> None:
        self.deployment, self.language, self.endpoint = deployment, language, endpoint
        self.ports = [free_port(), free_port()]
        self.logs = 0

    @property
    def handler(self) -> str:
        return {"node": "search.index", "go": "parcel.book"}[self.language]

    @property
    def emitted_type(self) -> str:
        return {"node": "search.indexed", "go": "parcel.booked"}[self.language]

    def gateway(self, number: int = 0) -> GuardedProcess:
        """Start a gateway; return when it answers."""
        port = self.ports[number]
        config = self.deployment.directory / "gateway.toml"
        config.write_text(CONFIG.format(service=self.handler.partition(".")[0]))
        command = [str(Path(sys.executable).with_name("celeriac")), "gateway"]
        command += ["--port", str(port), "--config", str(config)]
        environment = {**self.deployment.environment, "GATEWAY_TOKEN": TOKEN}
        process = self._start(command, environment, self.deployment.directory)
        self.deployment.until(lambda: answers(port), what="the gateway")
        return process

    def instance(self, number: int = 0) -> GuardedProcess:
        """Start an instance of the service, at the gateway of this number."""
        environment = {
            **os.environ,
            "GATEWAY_URL": f"http://127.0.0.1:{self.ports[number]}",
            "GATEWAY_TOKEN": TOKEN,
            "BACKEND_URL": self.endpoint.url,
            "LEASE": str(LEASE),
        }
        return self._start(self._command(), environment, EXAMPLES)

    def _command(self) -> list[str]:
        if self.language == "node":
            return [program("node"), str(EXAMPLES / "node" / "search.mjs")]
        binary = self.deployment.directory / "parcel"
        if not binary.exists():
            environment = {
                **os.environ, "GOFLAGS": "-mod=mod", "GOPROXY": "off", "GO111MODULE": "on",
                "GOCACHE": os.environ.get("GOCACHE", str(self.deployment.directory / "gocache")),
            }  # fmt: skip
            subprocess.run(
                [program("go"), "build", "-o", str(binary), "."],
                cwd=EXAMPLES / "go", env=environment, check=True, timeout=180,
            )  # fmt: skip
        return [str(binary)]

    def _start(
        self, command: list[str], environment: dict[str, str], directory: Path
    ) -> GuardedProcess:
        self.logs += 1
        log = self.deployment.directory / f"pull-{self.logs}.log"
        with log.open("wb") as out:
            process = guarded_popen(command, env=environment, cwd=directory, stdout=out, stderr=out)
        self.deployment.stack.callback(ended, process)
        return process

    def emit(self, count: int) -> list[str]:
        bus = self.deployment.bus
        events = [bus.event("order.placed", {"n": n}, subject=f"order/{n}") for n in range(count)]
        bus.emit_many(events)
        return [event.id for event in events]

    def answered_events(self) -> Counter[str]:
        """The events that the service emitted, by the event that caused them."""
        log = self.deployment.bus.service.backend.event_log
        domain = self.emitted_type.partition(".")[0]
        events = [decode(entry.body or b"") for entry in log.read(domain, count=10_000)]
        return Counter(str(event.causationid) for event in events)


def ended(process: GuardedProcess) -> None:
    """Kill the process, and wait for its end."""
    process.kill_group()
    process.wait(10)


def program(name: str) -> str:
    """The path of a program. CI must have it; elsewhere its tests are skipped."""
    found = shutil.which(name)
    if found is None:
        missing(f"{name} is not installed")
    return found


def answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture
def endpoint() -> Iterator[HttpEndpoint]:
    with http_endpoint() as server:
        yield server


@pytest.fixture(params=["node", "go"])
def fleet(request: pytest.FixtureRequest, deployment: Any, endpoint: HttpEndpoint) -> Fleet:
    deployment.lease = LEASE
    fleet = Fleet(deployment, request.param, endpoint)
    fleet._command()  # skips without the language
    return fleet


def test_a_service_handles_retries_dead_letters_and_emits(
    deployment: Any, fleet: Fleet, endpoint: HttpEndpoint
) -> None:
    tries: Counter[str] = Counter()

    def answer(request: Received) -> Answered | int:
        tries[request.headers["x-event-id"]] += 1
        if request.body == b'{"n":0}':
            return 400
        if tries[request.headers["x-event-id"]] == 1:
            # Each kind of failure, in turn.
            return (Answered(503), Answered(429, {"retry-after": "1"}), Answered(drops=True))[
                len(tries) % 3
            ]
        return 200

    endpoint.answer = answer
    fleet.gateway()
    service = fleet.instance()
    deployment.joined(fleet.handler, "order")
    ids = fleet.emit(30)
    deployment.until_settled()
    assert {tries[id] for id in ids[1:]} == {2}
    assert fleet.answered_events() == Counter(ids[1:])
    totals = deployment.matrix.totals()
    assert (totals.missing, totals.dead) == (0, 1)
    [dead] = deployment.bus.service.backend.deliveries.dead("order")
    assert dead.error.startswith("Dead: the ")
    record = deployment.bus.service.backend.registry.handlers()[fleet.handler]
    assert record.doc.endswith(".")
    service.terminate()
    assert service.wait(20) is not None


def test_killed_instances_and_gateways_lose_nothing_and_emit_once(
    deployment: Any, fleet: Fleet, endpoint: HttpEndpoint
) -> None:
    endpoint.answer = lambda request: Answered(200, delay=0.1)
    gateways = [fleet.gateway(0), fleet.gateway(1)]
    first = fleet.instance(0)
    fleet.instance(1)
    deployment.joined(fleet.handler, "order")
    ids = fleet.emit(60)
    deployment.until(lambda: len(endpoint.received) >= 10, what="the first requests")
    ended(first)
    deployment.until(lambda: len(endpoint.received) >= 25, what="more requests")
    ended(gateways[1])
    fleet.gateway(1)
    fleet.instance(0)
    deployment.until_settled()
    assert {request.headers["x-event-id"] for request in endpoint.received} == {*ids}
    assert fleet.answered_events() == Counter(ids)
    totals = deployment.matrix.totals()
    assert (totals.missing, totals.dead) == (0, 0)


def test_a_gateway_that_stops_signs_off_and_its_clients_continue_at_the_next(
    deployment: Any, fleet: Fleet, endpoint: HttpEndpoint
) -> None:
    gateway = fleet.gateway()
    fleet.instance()
    registry = deployment.bus.service.backend.registry
    deployment.until(lambda: bool(registry.workers()), what="the gateway as a worker")
    gateway.terminate()
    gateway.wait(30)
    assert registry.workers() == []
    ids = fleet.emit(5)
    fleet.gateway()
    deployment.until_settled()
    assert {request.headers["x-event-id"] for request in endpoint.received} == {*ids}


def test_a_gateway_whose_requests_only_wait_stops_at_once(deployment: Any, fleet: Fleet) -> None:
    gateway = fleet.gateway()
    headers = {"authorization": f"Bearer {TOKEN}"}
    url = f"http://127.0.0.1:{fleet.ports[0]}/v1/handlers/{fleet.handler}"
    put = httpx.put(url, json={"patterns": ["order.*"]}, headers=headers, timeout=60)
    put.raise_for_status()
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(
            httpx.post, f"{url}/fetch", json={"wait": 30}, headers=headers, timeout=60
        )
        registry = deployment.bus.service.backend.registry
        deployment.until(lambda: bool(registry.workers()), what="the waiting request")
        gateway.terminate()
        # Not cut off, as after the grace period.
        assert waiting.result().json() == {"deliveries": []}
    gateway.wait(30)
    log = (deployment.directory / "pull-1.log").read_text()
    assert "gateway stopped" in log and "graceful shutdown exceeded" not in log


def test_a_restarted_redis_loses_nothing(
    deployment: Any, fleet: Fleet, endpoint: HttpEndpoint
) -> None:
    endpoint.answer = lambda request: Answered(200, delay=0.1)
    fleet.gateway()
    fleet.instance()
    deployment.joined(fleet.handler, "order")
    ids = fleet.emit(40)
    deployment.until(lambda: len(endpoint.received) >= 10, what="the first requests")
    deployment.server.restart()
    deployment.until_settled()
    assert {request.headers["x-event-id"] for request in endpoint.received} == {*ids}
    assert fleet.answered_events() == Counter(ids)
    totals = deployment.matrix.totals()
    assert (totals.missing, totals.dead) == (0, 0)
