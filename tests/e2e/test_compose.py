"""docker-compose.yml without Docker: each command runs as a plain process, as it is written there.

Only what a container would have for itself is changed: the hosts of Valkey and PostgreSQL, /tmp,
and the ports. PostgreSQL is that of the machine, with a database of the test's own.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import psycopg
import pytest
import redis
import yaml

from celeriac.testing.ports import free_port
from celeriac.testing.process_guard import GuardedProcess, guarded_popen
from celeriac.testing.server import find_server

ROOT = Path(__file__).parents[2]
DAMAGED = 19  # see tasks/checkout.py
SECRETS = {
    "VALKEY_PASSWORD": "v4lkey",
    "FLOWER_PASSWORD": "fl0wer",
    "POSTGRES_PASSWORD": "p0stgres",
    "GATEWAY_TOKEN": "g4teway-0123456789",
    "SCALE_TOKEN": "sc4le-0123456789",
}


class Compose:
    """The services of the file as processes of this machine."""

    def __init__(self, directory: Path, postgres_url: str, stack: ExitStack) -> None:
        self.directory = directory
        self.postgres_url = postgres_url
        self.stack = stack
        self.valkey_port, self.flower_port, self.gateway_port = (free_port() for _ in range(3))
        self.services: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())[
            "services"
        ]
        self.processes: dict[str, GuardedProcess] = {}
        binaries = directory / "bin"
        binaries.mkdir()
        (binaries / "valkey-server").symlink_to(find_server())
        self.path = f"{Path(sys.executable).parent}:{binaries}:{os.environ['PATH']}"

    def adapted(self, service: str, text: str) -> str:
        """Interpolated as by Compose, then moved from the containers to here."""
        text = re.sub(r"\$\{(\w+):-([^}]*)\}", lambda m: SECRETS.get(m[1], m[2]), text)
        text = re.sub(r"\$\{(\w+):\?[^}]*\}", lambda m: SECRETS[m[1]], text).replace("$$", "$")
        text = text.replace("@valkey:6379", f"@127.0.0.1:{self.valkey_port}")
        database = f"shop:{SECRETS['POSTGRES_PASSWORD']}@postgres:5432/shop"
        text = text.replace(database, self.postgres_url.removeprefix("postgresql://"))
        text = text.replace("8080", str(self.gateway_port))
        text = text.replace("5555", str(self.flower_port)).replace("0.0.0.0", "127.0.0.1")
        return text.replace("/tmp/", f"{self.directory}/{service}/")

    def environment(self, service: str) -> dict[str, str]:
        given = self.services[service]["environment"]
        adapted = {name: self.adapted(service, value) for name, value in given.items()}
        return {"HOME": str(self.directory), "PATH": self.path, "PYTHONUNBUFFERED": "1", **adapted}

    def command(self, service: str) -> list[str]:
        given = self.services[service]["command"]
        words = shlex.split(given) if isinstance(given, str) else given
        words = [self.adapted(service, word) for word in words]
        if service == "valkey":
            words[-1] += f" --port {self.valkey_port} --bind 127.0.0.1 --dir {self.directory}"
        return words

    def up(self, service: str) -> None:
        (self.directory / service).mkdir()
        with self.log(service).open("wb") as log:
            process = guarded_popen(
                self.command(service),
                env=self.environment(service),
                cwd=ROOT,
                stdout=log,
                stderr=log,
                grace=10,
            )
        self.processes[service] = process
        self.stack.callback(process.stop)

    def run(self, service: str, *command: str) -> subprocess.CompletedProcess[str]:
        """As `docker compose exec`."""
        return subprocess.run(
            command, env=self.environment(service), cwd=ROOT, capture_output=True, text=True
        )

    def healthy(self, service: str) -> bool:
        kind, *probe = self.services[service]["healthcheck"]["test"]
        assert kind == "CMD"
        return self.run(service, *[self.adapted(service, word) for word in probe]).returncode == 0

    def log(self, service: str) -> Path:
        return self.directory / f"{service}.log"

    def until(self, holds: Callable[[], bool], what: str, seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            ended = {
                name: p.returncode for name, p in self.processes.items() if p.poll() is not None
            }
            if ended or time.monotonic() > deadline:
                said = "\n".join(
                    f"--- {name}\n{self.log(name).read_text()[-2000:]}" for name in self.processes
                )
                pytest.fail(f"waited in vain for {what}; ended: {ended}\n{said}")
            time.sleep(0.1)

    def until_healthy(self, service: str) -> None:
        self.until(lambda: self.healthy(service), f"{service} to be healthy")

    def says(self, service: str, text: str) -> None:
        self.until(lambda: text in self.log(service).read_text(), f"{service} to say {text!r}")


@pytest.fixture
def compose(tmp_path: Path, postgres_url: str) -> Iterator[Compose]:
    with ExitStack() as stack:
        yield Compose(tmp_path, postgres_url, stack)


@pytest.mark.timeout(360)
def test_the_shop_as_deployed_takes_an_order_through_all_its_services(compose: Compose) -> None:
    """Every command starts and is healthy. An order is charged, sent and reported to the customer;
    one that cannot be sent is undone."""
    compose.up("valkey")
    client = redis.Redis(port=compose.valkey_port, password=SECRETS["VALKEY_PASSWORD"])
    compose.until(lambda: answers(client), "Valkey")
    workers = [name for name, it in compose.services.items() if "worker" in str(it.get("command"))]
    for service in compose.services.keys() - {"valkey", "postgres"}:
        compose.up(service)
    for service in [*workers, "gateway"]:
        compose.until_healthy(service)
    compose.until(lambda: client.hlen("celeriac:handlers") == 8, "the handlers to be registered")

    assert place_by_http(compose, 1, token="GATEWAY_TOKEN") == 202
    assert place_by_http(compose, 2, token="SCALE_TOKEN") == 403
    order = f"celery -A config call tasks.checkout.place_order --args [{DAMAGED}]"
    called = compose.run("orders", *order.split())
    assert called.returncode == 0, called.stderr

    # What follows both ends comes first: the logs cost nothing to read, the CLI is a process.
    compose.says("notifications", f"Your money for order {DAMAGED} is on its way back")
    compose.says("shipping", "order 1 goes out as CEL000000001")
    compose.says("notifications", "to customer1@example.com: Order 1 is on its way")
    compose.says("analytics", "1 order.completed")
    compose.says("beat", "tasks.checkout.serve_customer")
    compose.until(lambda: fulfilment(compose, 1)["status"] == "completed", "order 1 to be sent")
    compose.until(lambda: fulfilment(compose, DAMAGED)["status"] == "aborted", "the abort")
    assert fulfilment(compose, DAMAGED)["reason"] == "item unavailable: damaged"
    assert operations(compose, 1) == {("payment", "done"), ("reservation", "done")}
    compose.until(
        lambda: operations(compose, DAMAGED) == {("payment", "undone"), ("reservation", "undone")},
        "the undo at both providers",
    )
    flower_asks_for_its_password(compose)
    ending = [*workers, "relay", "gateway"]
    for service in ending:
        compose.processes[service].terminate()
    assert [compose.processes[service].wait(60) for service in ending] == [0] * len(ending)


def place_by_http(compose: Compose, number: int, *, token: str) -> int:
    """Return the status with which the gateway answers an order of the web shop."""
    order = {
        "number": number, "email": f"customer{number}@example.com", "card": "card_good",
        "cents": 1990, "sku": "SKU-000001",
    }  # fmt: skip
    event = {
        "specversion": "1.0", "id": f"order-{number}", "source": "web", "type": "order.placed",
        "subject": f"order/{number}", "data": order,
    }  # fmt: skip
    request = Request(
        f"http://127.0.0.1:{compose.gateway_port}/events",
        json.dumps(event).encode(),
        {
            "Authorization": f"Bearer {SECRETS[token]}",
            "Content-Type": "application/cloudevents+json",
        },
    )
    try:
        with urlopen(request, timeout=60) as answer:
            return int(answer.status)
    except HTTPError as refused:
        refused.close()
        return refused.code


def operations(compose: Compose, number: int) -> set[tuple[str, str]]:
    """Return what the simulated providers did for an order."""
    with psycopg.connect(compose.postgres_url) as connection:
        found = connection.execute(
            "SELECT kind, state FROM sandbox_operation WHERE key = %s", (f"order/{number}",)
        )
        return {(kind, state) for kind, state in found}


def fulfilment(compose: Compose, number: int) -> dict[str, Any]:
    """The instance of an order as an operator sees it."""
    show = f"celeriac process show orders.fulfilment order/{number} --json"
    shown = compose.run("orders", *show.split())
    return json.loads(shown.stdout) if shown.returncode == 0 else {"status": "none"}


def flower_asks_for_its_password(compose: Compose) -> None:
    compose.until_healthy("flower")
    url = f"http://127.0.0.1:{compose.flower_port}/workers"
    with pytest.raises(HTTPError) as refused:
        urlopen(url, timeout=60)
    refused.value.close()
    assert refused.value.code == 401
    login = base64.b64encode(f"admin:{SECRETS['FLOWER_PASSWORD']}".encode()).decode()
    with urlopen(Request(url, headers={"Authorization": f"Basic {login}"}), timeout=60) as answer:
        assert answer.status == 200


def answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False
