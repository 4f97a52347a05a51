"""Tenants on real workers: routed, inherited over a chain, limited, counted, and in a deploy."""

from __future__ import annotations

import subprocess
import sys
from typing import Any
from urllib.request import urlopen

import pytest

from celeriac.delivery import DeliveryState
from celeriac.testing.ports import free_port
from tests.e2e.conftest import Deployment, Worker

JOINS = {"accept": "order", "ship": "parcel", "call": "parcel", "build": "report"}


def start(deployment: Deployment, monkeypatch: pytest.MonkeyPatch, *tenants: str) -> Worker:
    """A worker whose `call` gets the events of these tenants."""
    monkeypatch.setenv("TENANTS", ",".join(tenants))
    worker = deployment.worker(app="tenanted")
    for handler, domain in JOINS.items():
        deployment.joined(f"billing.{handler}", domain)
    return worker


def command(deployment: Deployment, *arguments: str) -> str:
    """What the command prints."""
    program = [sys.executable, "-c", "from celeriac.cli import main; main()"]
    program += ["--redis-url", deployment.server.url, *arguments]
    return subprocess.run(program, capture_output=True, text=True, check=True, timeout=60).stdout


def called(deployment: Deployment, tenant: str) -> list[str]:
    answer: Any = deployment.effects.lrange(f"called:{tenant}", 0, -1)
    return sorted(answer)


def state(deployment: Deployment, event: str) -> DeliveryState:
    cells = deployment.matrix.status(event).cells
    return next(cell.state for cell in cells if cell.handler == "billing.call")


def test_events_are_routed_and_counted_by_the_tenant_that_they_inherit(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three services emit one after the other, and only the first event names a tenant."""
    port = free_port()
    monkeypatch.setenv("CELERIAC_METRICS_PORT", str(port))
    monkeypatch.setenv("CELERIAC_METRICS_TENANTS", "acme")
    start(deployment, monkeypatch, "acme", "globex")
    for tenant in ("acme", "globex", "initech", None):
        for n in range(10):
            order = f"{tenant}-{n}"
            deployment.bus.emit("order.placed", {"order": order}, id=order, tenant=tenant)
    deployment.until(lambda: len(deployment.runs("billing.ship")) == 40, what="the chain")
    deployment.until_settled()
    for tenant in ("acme", "globex"):
        assert called(deployment, tenant) == [f"{tenant}-{n}.sent" for n in range(10)]
    assert 20 == deployment.runs("billing.call").total()
    for tenant in ("initech", None):
        assert state(deployment, f"{tenant}-0.sent") is DeliveryState.SKIPPED
    listed = command(deployment, "events", "--tenant", "globex", "--limit", "100")
    assert 10 == listed.count("order.placed") == listed.count("parcel.sent")
    assert "acme-" not in listed
    handled = 'celeriac_tenant_processed_total{handler="billing.call",service="billing",tenant='
    expected = [f'{handled}"acme"}} 10.0', f'{handled}"other"}} 10.0']
    deployment.until(
        lambda: all(line in scrape(port) for line in expected), what="the metrics of tenants"
    )
    assert "globex" not in scrape(port)


def scrape(port: int) -> str:
    try:
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""


def test_each_tenant_has_its_limit(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(2):
        start(deployment, monkeypatch, "acme")
    events = [
        deployment.bus.event("report.asked", tenant=tenant)
        for _ in range(40)
        for tenant in ("acme", "globex")
    ]
    deployment.bus.emit_many(events)
    deployment.until_settled()
    assert deployment.runs("billing.build") == dict.fromkeys((event.id for event in events), 1)
    for tenant in ("acme", "globex"):
        at_once: Any = deployment.effects.lrange(f"at once:{tenant}", 0, -1)
        assert {int(n) for n in at_once} == {1, 2}


def test_a_deploy_passes_over_no_event_of_a_new_tenant(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker with old code restarts while one with the new code runs."""
    old = start(deployment, monkeypatch, "acme")
    start(deployment, monkeypatch, "acme", "globex")
    registry = deployment.bus.service.backend.registry
    marks = ("@acme", "@globex")
    deployment.until(
        lambda: registry.handlers()["billing.call"].tenants == marks, what="the newer tenants"
    )

    def emit(begin: int) -> None:
        for n in range(begin, begin + 50):
            for tenant in ("acme", "globex", "initech"):
                id = f"{tenant}-{n:03}"
                deployment.bus.emit("parcel.sent", {"order": id}, id=id, tenant=tenant)

    emit(0)
    assert 0 == old.stop()
    emit(50)
    start(deployment, monkeypatch, "acme")
    emit(100)
    deployment.until(
        lambda: deployment.runs("billing.call").total() == 300, what="both tenants", seconds=90
    )
    deployment.until_settled()
    for tenant in ("acme", "globex"):
        assert called(deployment, tenant) == [f"{tenant}-{n:03}" for n in range(150)]
    assert registry.handlers()["billing.call"].tenants == marks
    assert state(deployment, "initech-100") is DeliveryState.SKIPPED
