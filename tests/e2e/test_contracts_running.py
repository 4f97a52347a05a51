"""Workers of two versions of a contract at once: what they declare, refuse, and cannot read yet."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from celeriac import EventBus
from celeriac.contract import schema_uri
from tests.e2e.conftest import APP, Deployment

pytestmark = pytest.mark.e2e


def celeriac(deployment: Deployment, *arguments: str) -> tuple[int, str]:
    command = [str(Path(sys.executable).with_name("celeriac")), *arguments]
    done = subprocess.run(
        command, cwd=APP, env=deployment.environment, capture_output=True, text=True
    )
    return done.returncode, done.stdout + done.stderr


def test_a_deploy_of_a_new_version_reader_last(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wrong order: the writer first. What the old worker cannot read waits for the new one."""
    deployment.worker(app="contracted")
    deployment.joined("billing.charge", "order")
    bus: EventBus = deployment.bus
    bus.emit("order.placed", {"cents": 1}, id="old")
    bus.emit("order.placed", {"amount": 2}, id="new", dataschema=schema_uri("order.placed", 2))
    backend = bus.service.backend
    deployment.until(lambda: len(backend.deliveries.dead("order")) == 1, what="the dead letter")
    (letter,) = backend.deliveries.dead("order")
    assert letter.error.startswith("ContractTooNew: version 2 of order.placed")
    assert 1 == letter.attempts

    # the check of the writer names the workers that run
    locks = str(tmp_path / "contracts")
    monkeypatch.setenv("CONTRACT_CODE", "new")
    code, said = celeriac(deployment, "contracts", "lock", "-A", "contracted", "--dir", locks)
    assert 0 == code, said
    code, said = celeriac(deployment, "contracts", "check", "--dir", locks, "--registry")
    assert 1 == code, said
    assert 'breaks billing.charge  (running in 1 worker)  {"amount":1}' in said

    deployment.workers[0].stop()
    deployment.worker(app="contracted")
    code, said = celeriac(deployment, "dead", "redrive", "--error", "ContractTooNew", "--yes")
    assert 0 == code, said
    deployment.until(
        lambda: deployment.effects.llen("effects:billing.charge") == 2, what="both events"
    )
    assert ['{"cents":1}', '{"amount":2}'] == deployment.effects.lrange(
        "effects:billing.charge", 0, -1
    )
    bus.emit("order.placed", {"cents": 3}, id="later")
    deployment.until(lambda: deployment.effects.llen("effects:billing.charge") == 3, what="later")
    assert '{"amount":3}' == deployment.effects.lindex("effects:billing.charge", 2)
    code, said = celeriac(deployment, "contracts", "check", "--dir", locks, "--registry")
    assert 0 == code, said


def test_a_worker_with_another_schema_under_the_same_number_does_not_start(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment.worker(app="contracted")
    monkeypatch.setenv("CONTRACT_CODE", "changed")
    command = [sys.executable, "-m", "celery", "-A", "contracted", "worker", "-P", "solo"]
    done = subprocess.run(
        command, cwd=APP, env=deployment.environment, capture_output=True, text=True, timeout=60
    )
    said = done.stdout + done.stderr
    assert 1 == done.returncode, said
    assert "the worker does not start: order.placed version 1 differs from the one" in said
    assert "field cents removed; field amount added: integer" in said
    assert "Traceback" not in said
