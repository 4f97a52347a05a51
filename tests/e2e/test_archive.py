"""The archive on a real server, with users of ACLs: stored, trimmed, replayed to one handler."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from celeriac import BusUnavailable, EventBus
from celeriac.archive.storage import Storage
from celeriac.delivery import Group
from celeriac.store.redis.keys import Keys
from celeriac.testing.process_guard import guarded_popen
from tests.e2e.conftest import Deployment
from tests.e2e.test_acl import url_of, user

# Replays with small limits, so that few events are more than may be in flight.
LIMITED = """
import celeriac.archive.replay as replay
replay.STEP, replay.MAX_IN_FLIGHT = 10, 100
from celeriac.cli import main
main()
"""
MANY = 150


@pytest.fixture
def admin(deployment: Deployment) -> Iterator[Any]:
    client: Any = redis.Redis.from_url(deployment.server.url, decode_responses=True)
    user(client, deployment.server.url, "--service", "archive")
    user(client, deployment.server.url, "--operator", "ops")
    yield client
    client.close()


@pytest.fixture
def url(tmp_path: Path) -> str:
    return (tmp_path / "archive").as_uri()


def command(deployment: Deployment, name: str, *arguments: str) -> list[str]:
    """The command line of a command as this user."""
    return [sys.executable, "-c", LIMITED, "--redis-url", url_of(deployment, name), *arguments]


def run(deployment: Deployment, name: str, *arguments: str) -> str:
    """What the command prints."""
    done = subprocess.run(
        command(deployment, name, *arguments),
        env=deployment.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=120,
        text=True,
    )
    assert 0 == done.returncode, done.stdout
    return done.stdout


def archive(deployment: Deployment, url: str) -> str:
    return run(deployment, "archive", "archive", "--to", url, "--once")


def trim(admin: Any, *domains: str) -> None:
    for domain in domains:
        admin.xtrim(Keys().events(domain), maxlen=0, approximate=False)
        assert 0 == admin.xlen(Keys().events(domain))


def emit(deployment: Deployment, count: int) -> list[str]:
    orders = EventBus(service="orders", redis_url=deployment.server.url)
    return [orders.emit("order.placed", {"n": n}) for n in range(count)]


def until_run(deployment: Deployment, count: int) -> None:
    deployment.until(lambda: deployment.runs("billing.note").total() >= count, what="runs")


def test_trimmed_events_are_replayed_to_one_handler(
    deployment: Deployment, admin: Any, url: str
) -> None:
    deployment.worker()
    deployment.joined("billing.note", "order")
    ids = emit(deployment, 300)
    deployment.until_settled()
    assert "300 events stored" in archive(deployment, url)
    trim(admin, "order")
    span = ("--since", "1h", "--from", url)
    counted = run(deployment, "ops", "replay", "billing.note", *span, "--dry-run")
    assert "order.placed     300" in counted
    assert "300 events for billing.note. Nothing was scheduled." in counted
    answer = run(deployment, "ops", "replay", "billing.note", *span, "--yes")
    assert "300 events scheduled for billing.note" in answer
    until_run(deployment, 600)
    assert dict.fromkeys(ids, 2) == deployment.runs("billing.note")
    assert 30 == deployment.runs("billing.anote").total()
    assert "0 events stored" in archive(deployment, url)
    denied = [(e["username"], e["object"]) for e in admin.execute_command("ACL", "LOG")]
    assert [] == denied


def test_a_replay_that_is_killed_continues_and_runs_every_event_once(
    deployment: Deployment, admin: Any, url: str
) -> None:
    """Killed while it waits for the handler, after it scheduled most of the events."""
    worker = deployment.worker()
    deployment.joined("billing.note", "order")
    assert 0 == worker.stop()
    ids = emit(deployment, MANY)
    archive(deployment, url)
    # The handler has not seen any of them.
    admin.execute_command("XGROUP", "SETID", Keys().events("order"), "billing.note", "$")
    admin.execute_command("XGROUP", "SETID", Keys().events("order"), "billing.anote", "$")
    trim(admin, "order")
    replay = ("replay", "billing.note", "--since", "2020-01-01", "--from", url, "--yes")
    killed = guarded_popen(command(deployment, "ops", *replay), env=deployment.environment)
    deliveries = deployment.bus.service.backend.deliveries
    group = Group("order", "billing.note")

    def scheduled() -> int:
        stored = deliveries.archive_replay(group)
        return stored.scheduled if stored else 0

    deployment.until(lambda: scheduled() == 100, what="most events to be scheduled")
    killed.kill_group()
    killed.wait(10)
    assert 100 == scheduled()
    deployment.worker()
    answer = run(deployment, "ops", *replay)
    assert "Continuing after 100 events." in answer
    assert f"{MANY} events scheduled" in answer
    until_run(deployment, MANY)
    assert dict.fromkeys(ids, 1) == deployment.runs("billing.note")
    answer = run(deployment, "ops", *replay)
    assert f"This replay is finished: {MANY} events scheduled" in answer
    assert MANY == deployment.runs("billing.note").total()


def test_an_archive_with_a_user_of_its_own_stores_new_domains(
    deployment: Deployment, admin: Any, url: str
) -> None:
    emit(deployment, 3)
    archive(deployment, url)
    orders = EventBus(service="orders", redis_url=deployment.server.url)
    orders.emit("payment.taken", {"n": 1})
    assert "1 event stored" in archive(deployment, url)
    assert ["order", "payment"] == Storage(url).domains()
    assert [] == admin.execute_command("ACL", "LOG")
    as_archive = EventBus(service="orders", redis_url=url_of(deployment, "archive"))
    with pytest.raises(BusUnavailable, match="forbids the command"):
        as_archive.emit("order.placed", {})
