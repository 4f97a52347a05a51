"""Services on a server with ACLs, each with the user that `celeriac acl` prints for it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis
from click.testing import CliRunner

from celeriac import EventBus
from celeriac.cli.root import main
from celeriac.cli.session import Session
from celeriac.settings import Settings
from celeriac.store.redis.keys import Keys
from celeriac.testing.server import start_server
from devtools.fork_server import fork_server
from tests.e2e.conftest import APP, Deployment

EMITS = {"orders": "order", "billing": "payment"}


def user(admin: Any, url: str, *arguments: str) -> None:
    """Makes the user that the command prints."""
    settings = Settings.load(redis_url=url)
    done = CliRunner().invoke(
        main, ["acl", *arguments, "--password", "pw", "--format", "aclfile"], obj=Session(settings)
    )
    assert done.exit_code == 0, done.output
    _, name, *rules = _words(done.stdout.strip())
    admin.execute_command("ACL", "SETUSER", name, *rules)


def _words(line: str) -> list[str]:
    """Words of an aclfile: a selector is one."""
    words: list[str] = []
    for part in line.split(" "):
        if words and words[-1].startswith("(") and not words[-1].endswith(")"):
            words[-1] += f" {part}"
        else:
            words.append(part)
    return words


@pytest.fixture(params=["celeriac", "shop"])
def namespace(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The usual one; and another, which the names of Celery's queues and channels begin with."""
    monkeypatch.setenv("CELERIAC_NAMESPACE", request.param)
    return str(request.param)


@pytest.fixture
def deployment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, namespace: str
) -> Iterator[Deployment]:
    monkeypatch.syspath_prepend(str(APP))
    with ExitStack() as stack:
        server = stack.enter_context(start_server(tmp_path / "data"))
        admin: Any = redis.Redis.from_url(server.url, decode_responses=True)
        for service, emits in EMITS.items():
            monkeypatch.setenv("CELERIAC_SERVICE", service)
            sys.modules.pop("restricted", None)
            user(admin, server.url, "-A", "restricted", "--emits", emits)
        yield Deployment(server, tmp_path, stack)
        admin.close()


def url_of(deployment: Deployment, name: str) -> str:
    return deployment.server.url.replace("redis://", f"redis://{name}:pw@")


def start(deployment: Deployment, service: str) -> None:
    log = deployment.directory / f"{service}.log"
    with log.open("wb") as out:
        process = fork_server().popen(
            [sys.executable, "-m", "celery", "-A", "restricted", "worker", "-c", "1",
             "-n", f"{service}@%h", "--loglevel", "info"],
            env={**deployment.environment, "CELERIAC_SERVICE": service,
                 "CELERIAC_REDIS_URL": url_of(deployment, service),
                 "CELERIAC_EMITTED_DOMAINS": EMITS[service],
                 "SHIPPED": str(deployment.directory / "shipped")},
            cwd=APP, stdout=out, stderr=out,
        )  # fmt: skip
    deployment.stack.callback(process.wait, 10)
    deployment.stack.callback(process.kill_group)
    registry = deployment.bus.service.backend.registry
    deployment.until(
        lambda: any(w.service == service for w in registry.workers()),
        what=f"{service}: {log.read_text()[-4000:]}",
    )


def test_workers_of_each_service_do_their_part(deployment: Deployment, namespace: str) -> None:
    """A whole round with users that may do no more; see tests/unit/cli/test_acl.py for the rest."""
    admin: Any = redis.Redis.from_url(deployment.server.url, decode_responses=True)
    for service in EMITS:
        start(deployment, service)
    orders = EventBus(service="orders", redis_url=url_of(deployment, "orders"))
    ids = [orders.emit("order.placed", {"n": n}, subject=f"o/{n}") for n in range(5)]
    ids += [orders.emit("order.placed", {"n": 9}, delay=0.2)]
    orders.emit_many([("order.placed", {"n": 7})])
    shipped = deployment.directory / "shipped"

    def whole() -> bool:
        return shipped.exists() and {f"{id}.paid" for id in ids} <= {*shipped.read_text().split()}

    deployment.until(whole, what="the payment of each order", seconds=40)
    deployment.until(
        lambda: len(deployment.bus.service.backend.deliveries.dead("order")) == 1,
        what="the dead letter of the third",
    )
    denied = {(e["username"], e["object"]) for e in admin.execute_command("ACL", "LOG")}
    # moving delayed events where a service only reads: tried once, then left to others
    keys = Keys(namespace)
    assert denied <= {("billing", keys.events("order")), ("orders", keys.events("payment"))}
    lies = admin.keys("*")
    assert lies and all(key.startswith(f"{namespace}:") for key in lies if namespace == "shop")
    admin.close()
