"""The whole path with the log on a Redis Cluster of three nodes, with a separate broker."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from celeriac import EventBus
from celeriac.testing.process_guard import guarded_popen
from celeriac.testing.server import start_server
from devtools.cluster import EmbeddedCluster, start_cluster
from tests.e2e.conftest import Deployment

DOMAINS = [f"domain{n}" for n in range(12)]


@dataclass
class ClusterDeployment(Deployment):
    """`server` is the broker, and keeps what handlers did; `cluster` holds the log."""

    cluster: EmbeddedCluster = None  # type: ignore[assignment]

    @property
    def environment(self) -> dict[str, str]:
        return {
            **super().environment,
            "CELERIAC_REDIS_URL": self.cluster.url,
            "CELERIAC_BROKER_URL": self.server.url,
        }

    @property
    def bus(self) -> EventBus:
        return EventBus(
            service="tests", redis_url=self.cluster.url, lease=self.lease, emit_timeout=15
        )

    def happenings(self, count: int, **data: Any) -> list[Any]:
        """Events of all domains in turn."""
        bus = self.bus
        return [
            bus.event(f"{DOMAINS[n % len(DOMAINS)]}.happened", {"n": n, **data})
            for n in range(count)
        ]

    def until_ran(self, handler: str, ids: set[str]) -> None:
        self.until(lambda: ids <= self.runs(handler).keys(), what=f"{handler} to run on all")

    def errors(self, kind: str) -> int:
        """How often the nodes refused a command for that reason."""
        found = 0
        for node in self.cluster.nodes:
            with self.cluster.client(node) as client:
                stat = client.info("errorstats").get(f"errorstat_{kind}", {"count": 0})
                found += int(stat["count"])
        return found


@pytest.fixture
def deployment(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[ClusterDeployment]:
    with ExitStack() as stack:
        data = tmp_path / "data"
        data.mkdir()
        server = stack.enter_context(start_server(data))
        replicas = getattr(request, "param", 0)
        cluster = stack.enter_context(start_cluster(tmp_path / "cluster", replicas=replicas))
        yield ClusterDeployment(server, tmp_path, stack, cluster=cluster)


def test_events_of_all_nodes_are_handled_and_no_command_crosses_slots(
    deployment: ClusterDeployment,
) -> None:
    """Emitted each way there is, retried, delayed, emitted on by a handler, from domains that the
    worker has not seen before."""
    worker = deployment.worker(app="spread")
    bus, events = deployment.bus, deployment.happenings(600)
    bus.emit_many(events[:300])
    for event in events[300:400]:
        bus.emit(event.type, event.data, id=event.id)
    asyncio.run(_emit_async(bus, events[400:]))
    followed = bus.emit("domain0.happened", {"follow": True})
    late = bus.emit("domain1.happened", {}, delay=0.3)
    again = [bus.emit(f"{domain}.failed", {}) for domain in DOMAINS]

    expected = {e.id for e in events} | {followed, f"{followed}.follower", late}
    deployment.until_ran("billing.note", expected)
    deployment.until_settled()
    assert deployment.runs("billing.note") == dict.fromkeys(expected, 1)
    assert deployment.runs("billing.repeat") == dict.fromkeys(again, 2)
    assert deployment.missing() == 0

    for node in deployment.cluster.masters:
        with deployment.cluster.client(node) as client:
            assert any(client.scan_iter(match="*:events")), "a node without a domain"
    for arguments in (["lag"], ["status", events[0].id], ["doctor"], ["events"]):
        assert deployment_says(deployment, *arguments)
    assert deployment_says(deployment, "doctor").count("none: if this node fails") == 3
    assert worker.stop() == 0
    assert deployment.errors("CROSSSLOT") == 0
    assert deployment.errors("MOVED") == 0


async def _emit_async(bus: EventBus, events: list[Any]) -> None:
    await bus.aemit_many(events[:100])
    for event in events[100:]:
        await bus.aemit(event.type, event.data, id=event.id)
    await bus.aclose()


def deployment_says(deployment: ClusterDeployment, *arguments: str) -> str:
    """What a command prints. Fails where the command does."""
    log = deployment.directory / "command.log"
    with log.open("wb") as out:
        process = guarded_popen(
            [str(Path(sys.executable).parent / "celeriac"), *arguments],
            env=deployment.environment,
            stdout=out,
            stderr=out,
        )
        status = process.wait(60)
    said = log.read_text()
    assert status == 0, said
    return said


@pytest.mark.parametrize("pool", ["threads", "gevent"])
def test_other_pools_wait_on_all_nodes_too(deployment: ClusterDeployment, pool: str) -> None:
    deployment.worker(app="spread", pool=pool)
    events = deployment.happenings(120)
    deployment.bus.emit_many(events)
    deployment.until_ran("billing.note", {e.id for e in events})
    # At rest now: each domain's bell is waited for.
    for event in deployment.happenings(24):
        deployment.bus.emit(event.type, event.data, id=event.id)
        deployment.until_ran("billing.note", {event.id})
    assert deployment.errors("CROSSSLOT") == 0


@pytest.mark.parametrize("deployment", [1], indirect=True)
def test_a_node_that_dies_is_replaced_and_loses_nothing_that_its_replica_had(
    deployment: ClusterDeployment,
) -> None:
    """The first master has a replica. It is killed while events come and are handled."""
    cluster = deployment.cluster
    deployment.worker(app="spread")
    before = deployment.happenings(240)
    deployment.bus.emit_many(before)
    with cluster.client(cluster.masters[0]) as client:
        # Not WAIT, which waits for the writes of its own connection.
        accepted = client.info("replication")["master_repl_offset"]
        deployment.until(
            lambda: client.info("replication")["slave0"]["offset"] >= accepted,
            what="its replica to have all that was accepted",
        )
    cluster.masters[0].kill()
    after = deployment.happenings(120)
    bus = deployment.bus
    for event in after:  # tried until the replica has taken over
        bus.emit(event.type, event.data, id=event.id)
    deployment.until_ran("billing.note", {e.id for e in [*before, *after]})
    deployment.until_settled()
    assert deployment.missing() == 0


def test_a_worker_without_a_broker_names_what_is_missing(deployment: ClusterDeployment) -> None:
    log = deployment.directory / "no-broker.log"
    environment = {**deployment.environment, "CELERIAC_SERVICE": "billing"}
    del environment["CELERIAC_BROKER_URL"]
    with log.open("wb") as out:
        process = guarded_popen(
            [sys.executable, "-m", "celery", "-A", "spread", "worker"],
            env=environment,
            cwd=Path(__file__).parent / "app",
            stdout=out,
            stderr=out,
        )
        assert process.wait(60) != 0
    assert "CELERIAC_BROKER_URL is not set" in log.read_text()
