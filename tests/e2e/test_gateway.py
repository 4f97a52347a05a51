"""`celeriac gateway` as a process: events and webhooks reach a worker, each once."""

from __future__ import annotations

import hashlib
import hmac
import json
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from celeriac.event.http_message import STRUCTURED
from celeriac.testing.ports import free_port
from celeriac.testing.process_guard import GuardedProcess, guarded_popen
from tests.e2e.conftest import APP

SECRET = "partner-secret-of-32-characters!"
# Seconds: longer than `emit_timeout`, also on a loaded machine.
ANSWERS = 40.0
CONFIG = """
[tokens.partner]
secret = { env = "PARTNER_TOKEN" }
types = ["parcel.*"]
source = "/partner"

[hooks.stripe]
preset = "stripe"
secret = "whsec_of-the-shop-test"
"""


class Gateways:
    """Starts `celeriac gateway` processes, and ends them with the test."""

    def __init__(self, deployment: Any, directory: Path, stack: ExitStack) -> None:
        self.deployment, self.stack = deployment, stack
        self.log, self.config = directory / "gateway.log", directory / "gateway.toml"
        self.kill = directory / "kill"
        self.config.write_text(CONFIG)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self) -> GuardedProcess:
        """Start one, and wait until it is ready."""
        command = [str(Path(sys.executable).with_name("celeriac")), "gateway"]
        command += ["-A", "gatewayed", "--port", str(self.port), "--config", str(self.config)]
        environment = {"PARTNER_TOKEN": SECRET, "KILL": str(self.kill)}
        with self.log.open("ab") as out:
            process = guarded_popen(
                command,
                env={**self.deployment.environment, **environment},
                cwd=APP,
                stdout=out,
                stderr=out,
            )
        self.stack.callback(process.wait, 10)
        self.stack.callback(process.kill_group)
        self.deployment.until(lambda: self.is_ready() or process.poll() is not None, what="ready")
        assert process.poll() is None, self.log.read_text()
        return process

    def is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=ANSWERS).status_code == 200
        except httpx.TransportError:
            return False

    def post(self, id: str) -> httpx.Response:
        event = {"specversion": "1.0", "id": id, "source": "/partner", "type": "parcel.sent"}
        headers = {"authorization": f"Bearer {SECRET}", "content-type": STRUCTURED}
        return httpx.post(
            f"{self.url}/events", content=json.dumps(event), headers=headers, timeout=ANSWERS
        )


@pytest.fixture
def gateways(deployment: Any, tmp_path: Path) -> Iterator[Gateways]:
    with ExitStack() as stack:
        yield Gateways(deployment, tmp_path, stack)


def stripe_signed(body: bytes) -> dict[str, str]:
    at = int(time.time())
    mac = hmac.new(b"whsec_of-the-shop-test", f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return {"stripe-signature": f"t={at},v1={mac}"}


def test_events_and_webhooks_reach_a_worker_each_once(deployment: Any, gateways: Gateways) -> None:
    deployment.worker(app="gatewayed")
    deployment.joined("billing.note", "parcel")
    deployment.joined("billing.note", "stripe")
    process = gateways.start()
    body = json.dumps({"id": "evt_1", "type": "charge.failed"}).encode()
    for _ in range(3):
        assert gateways.post("p-1").json() == {"ids": ["p-1"]}
        headers = stripe_signed(body)
        answer = httpx.post(
            f"{gateways.url}/hooks/stripe", content=body, headers=headers, timeout=ANSWERS
        )
        assert answer.json() == {"ids": ["evt_1"]}
    deployment.until(lambda: len(deployment.runs("billing.note")) == 2, what="both events")
    deployment.until_settled()
    assert deployment.runs("billing.note") == {"p-1": 1, "evt_1": 1}
    assert deployment.missing() == 0
    process.terminate()
    assert process.wait(20) == 0, gateways.log.read_text()
    assert "gateway stopped" in gateways.log.read_text()


def test_a_gateway_killed_between_emit_and_reply_loses_and_doubles_nothing(
    deployment: Any, gateways: Gateways
) -> None:
    deployment.worker(app="gatewayed")
    deployment.joined("billing.note", "parcel")
    killed = gateways.start()
    gateways.kill.touch()
    with pytest.raises(httpx.TransportError):
        gateways.post("p-1")
    killed.wait(20)
    event_log = deployment.bus.service.backend.event_log
    assert event_log.length("parcel") == 1, "it was killed before its emit"
    gateways.start()
    answer = gateways.post("p-1")
    assert (answer.status_code, answer.json()) == (202, {"ids": ["p-1"]})
    deployment.until_settled()
    assert event_log.length("parcel") == 1
    assert deployment.runs("billing.note") == {"p-1": 1}


def test_a_gateway_accepts_again_when_redis_is_back(deployment: Any, gateways: Gateways) -> None:
    gateways.start()
    assert gateways.post("p-1").status_code == 202
    deployment.server.stop()
    answer = gateways.post("p-2")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert not gateways.is_ready()
    assert httpx.get(f"{gateways.url}/healthz", timeout=ANSWERS).status_code == 200
    deployment.server.start()
    deployment.until(lambda: gateways.post("p-2").status_code == 202, what="the same id again")
    ids = [
        json.loads(entry.body)["id"]
        for entry in deployment.bus.service.backend.event_log.read("parcel")
    ]
    assert ids == ["p-1", "p-2"]
