"""Workers that are started and stopped by what `GET /v1/scale/{service}` answers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from celeriac.delivery import Group
from celeriac.gateway import Token, gateway
from celeriac.testing.ports import free_port
from celeriac.testing.process_guard import guarded_popen
from tests.e2e.keda import Keda, serve

ROOT = Path(__file__).parents[2]
TOKEN = "0123456789abcdef-keda"


@pytest.fixture
def url(deployment: Any) -> Iterator[str]:
    """A gateway."""
    with serve(gateway(deployment.bus, tokens=[Token("keda", TOKEN, scale=["*"])])) as url:
        yield url


def keda(deployment: Any, url: str, **query: float) -> Keda:
    parameters = "&".join(f"{name}={value}" for name, value in query.items())
    return Keda(
        url=f"{url}/v1/scale/billing?{parameters}",
        start=lambda: deployment.start_worker(app="scaling", processes=1),
        headers={"authorization": f"Bearer {TOKEN}"},
    )


def test_a_fleet_grows_from_zero_to_four_and_back_and_runs_each_event_once(
    deployment: Any, url: str
) -> None:
    deployment.worker(app="scaling", processes=1)
    deployment.joined("billing.work", "work")
    assert deployment.workers[0].stop() == 0
    scaler = keda(deployment, url, drain_target=2, cooldown=1)
    assert scaler.poll() == 0
    bus = deployment.bus
    # So many that the last worker is there before fewer are enough.
    ids = [bus.emit("work.one", {"n": n}) for n in range(600)]
    deployment.until(lambda: scaler.poll() == 4, what="four workers", seconds=60)
    registry = deployment.bus.service.backend.registry
    beating: set[int] = set()

    def is_idle() -> bool:
        beating.add(len(registry.workers()))
        return scaler.poll() == 0

    deployment.until(is_idle, what="no worker", seconds=60)
    assert deployment.runs("billing.work") == dict.fromkeys(ids, 1)
    assert deployment.missing() == 0
    assert (max(scaler.history), max(beating)) == (4, 4)
    assert scaler.history[-1] == 0


def test_a_retry_starts_a_worker_shortly_before_it_is_due(deployment: Any, url: str) -> None:
    """KEDA's scaler for streams sees no scheduled delivery, so it would never start one."""
    cooldown_ms = 2000
    scaler = keda(deployment, url, drain_target=4, cooldown=cooldown_ms / 1000)
    worker = deployment.worker(app="scaling", processes=1)
    deployment.joined("billing.later", "later")
    event = deployment.bus.emit("later.one")
    backend, group = deployment.bus.service.backend, Group("later", "billing.later")

    def due_ms() -> int | None:
        pending = backend.deliveries.pending_between(group, "-", "+", 1)
        due: int | None = pending[0].due_ms if pending else None
        return due

    deployment.until(lambda: due_ms() is not None, what="the retry")
    due = due_ms()
    assert due is not None
    assert scaler.poll() == 0
    worker.process.terminate()
    deployment.until(lambda: scaler.poll() == 1, what="a worker")
    assert due - backend.registry.now_ms() <= cooldown_ms
    deployment.until(lambda: scaler.poll() == 0, what="no worker")
    assert deployment.runs("billing.later") == {event: 2}
    assert deployment.missing() == 0
    assert worker.stop() == 0


def test_the_gateway_of_the_chart_starts_as_it_is_written(deployment: Any, tmp_path: Path) -> None:
    """The other commands are those of docker-compose.yml, which test_compose.py runs."""
    manifests = yaml.safe_load_all((ROOT / "deploy/rendered/shop.yaml").read_text())
    gateways = [each for each in manifests if each and each["metadata"]["name"] == "shop-gateway"]
    [container] = gateways[0]["spec"]["template"]["spec"]["containers"]
    port = free_port()
    words = [word.replace("8080", str(port)) for word in container["command"]]
    with (tmp_path / "gateway.log").open("wb") as log:
        process = guarded_popen(
            [str(Path(sys.executable).parent / words[0]), *words[1:]],
            env={**deployment.environment, "GATEWAY_TOKEN": f"{TOKEN}-web", "SCALE_TOKEN": TOKEN},
            cwd=ROOT,
            stdout=log,
            stderr=log,
        )
    deployment.stack.callback(process.kill_group)
    url = f"http://127.0.0.1:{port}"

    def is_ready() -> bool:
        assert process.poll() is None, (tmp_path / "gateway.log").read_text()
        with suppress(httpx.TransportError):
            return httpx.get(f"{url}/readyz").status_code == 200
        return False

    deployment.until(is_ready, what="the gateway")
    answer = httpx.get(
        f"{url}/v1/scale/billing?unknown=1",
        headers={"authorization": f"Bearer {TOKEN}"},
        timeout=40,
    )
    assert (answer.status_code, answer.json()["workers"]) == (200, 1)
    process.terminate()
    assert process.wait(20) in (0, -15)
