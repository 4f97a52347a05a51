"""Data of a subject on real workers, before and after `celeriac erase`."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from celeriac import EventBus, SubjectErased
from celeriac.delivery import DeliveryState
from celeriac.subject_keys import SUBJECT, SqlSubjectKeys
from tests.e2e.conftest import APP, Deployment


def test_a_worker_skips_the_events_of_an_erased_subject(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pool's processes are forked after the module opened the database."""
    url, master = f"sqlite:///{tmp_path / 'keys.sqlite'}", secrets.token_urlsafe(32)
    monkeypatch.setenv("KEYS_URL", url)
    monkeypatch.setenv("MASTER_KEY", master)
    worker = deployment.worker(app="erasing")
    deployment.joined("billing.note", "customer")

    def emit(subject: str) -> str:
        # Another store each time, as in another process: it has no cached key.
        keys = SqlSubjectKeys(create_engine(url), master)
        bus = EventBus(service="orders", redis_url=deployment.server.url, subject_keys=keys)
        data = {"name": "Ann"}
        return bus.emit("customer.moved", data, subject=subject, encrypt_for=[SUBJECT])

    emit("customer-42")
    deployment.until(lambda: deployment.runs("billing.note").total() == 1, what="the first run")
    assert 0 == worker.stop()
    erased, kept = emit("customer-42"), emit("customer-43")
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("celeriac")),
            *("erase", "customer-42", "-A", "erasing", "--reason", "request 7", "--yes"),
        ],
        env={**deployment.environment, "CELERIAC_SERVICE": "billing"},
        cwd=APP,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "customer-42 is erased." in done.stdout, done.stderr
    with pytest.raises(SubjectErased):
        emit("customer-42")
    deployment.worker(app="erasing")
    deployment.until(lambda: deployment.runs("billing.note").total() == 2, what="the second run")
    deployment.until_settled()
    runs = {"customer-42 Ann": 1, "customer-43 Ann": 1}
    assert Counter(runs) == deployment.runs("billing.note")
    states = [deployment.matrix.status(id).cells[0].state for id in (erased, kept)]
    assert [DeliveryState.SKIPPED, DeliveryState.PROCESSED] == states
    assert 0 == deployment.bus.service.backend.deliveries.dead_count("customer")
