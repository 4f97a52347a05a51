"""`python -m benchmarks.cluster_costs`: CPU time of an event on clusters of one and three nodes.

Prints the costs as JSON for `benchmarks.simulate --costs`, and how far the model's shares of the
nodes are from the measured ones. Twelve domains, chunks of 200, no workers: event log and delivery
store are called as a worker calls them, so that chunks are alike on one node and on three. CPU time
is read from /proc, so neighbours on the machine disturb it little. Takes about a minute.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any

from benchmarks.payload import BODY, ORDER
from benchmarks.simulate import Costs, shares
from benchmarks.workers import cpu_seconds
from celeriac import EventBus
from celeriac.delivery import Completion, FetchRequest, Group, Outcome
from celeriac.event_log import EntryKind
from celeriac.settings import Settings
from celeriac.store.redis.deliveries import RedisDeliveryStore
from celeriac.store.redis.event_log import redis_event_log
from devtools.cluster import EmbeddedCluster, start_cluster

DOMAINS = [f"domain{number}" for number in range(12)]
CHUNK = 200
TURNS = 10
TASK = b"x" * 1500


@dataclass(frozen=True)
class Spent:
    """CPU µs of each node for each event, and of this process."""

    nodes: tuple[float, ...]
    process: float

    @property
    def total(self) -> float:
        return sum(self.nodes)

    @property
    def busiest(self) -> float:
        return max(self.nodes)


class Stage:
    """A cluster with an event log and a delivery store."""

    def __init__(self, cluster: EmbeddedCluster, domains: Sequence[str] = DOMAINS) -> None:
        self.cluster, self.domains = cluster, domains
        settings = Settings.load({}, redis_url=cluster.url)
        self.event_log, self.deliveries = redis_event_log(settings), RedisDeliveryStore(settings)
        self.bus = EventBus(redis_url=cluster.url, source="spread")
        self.groups = [Group(domain, "billing.note") for domain in domains]
        for group in self.groups:
            self.event_log.join(group.domain, group.handler, "0")

    def measured(self, call: Any, events: int) -> Spent:
        pids = [node.pid for node in self.cluster.masters]
        before, process_before = [cpu_seconds([pid]) for pid in pids], cpu_seconds([os.getpid()])
        call()
        after = [cpu_seconds([pid]) for pid in pids]
        spent = [(b - a) * 1e6 / events for a, b in zip(before, after, strict=True)]
        return Spent(tuple(spent), (cpu_seconds([os.getpid()]) - process_before) * 1e6 / events)

    def append(self) -> None:
        items = [(domain, BODY, EntryKind.MADE, 0) for domain in self.domains]
        self.event_log.append_many([item for item in items for _ in range(CHUNK)])

    def emit(self) -> None:
        types = [f"{domain}.placed" for domain in self.domains]
        self.bus.emit_many((type, ORDER) for type in types for _ in range(CHUNK))

    def deliver(self) -> None:
        requests = [FetchRequest(group, CHUNK, max_new=CHUNK) for group in self.groups]
        for group, fetched in zip(self.groups, self.deliveries.fetch("w1", requests), strict=True):
            ids = {
                delivery.entry: f"{group.domain}-{delivery.entry}"
                for delivery in fetched.deliveries
            }
            claimed = self.deliveries.claim("w1", group, list(ids.items()), 10)
            done = [
                Completion(c.entry, ids[c.entry], c.attempt, Outcome.PROCESSED) for c in claimed
            ]
            if len(done) != CHUNK or self.deliveries.complete("w1", group, done):
                raise RuntimeError(f"{group}: {len(done)} of {CHUNK} were handled")

    def task(self) -> None:
        """Do the least that a broker does for a delivery task: push and pop it."""
        with self.cluster.client(self.cluster.masters[0]) as client:
            for _ in range(CHUNK):
                client.lpush("{task}", TASK)
                client.rpop("{task}")


def measure(nodes: int) -> dict[str, Spent]:
    """Median of some turns, by the busiest node."""
    events = CHUNK * len(DOMAINS)
    samples: dict[str, list[Spent]] = {"append": [], "deliver": [], "emit": [], "task": []}
    with tempfile.TemporaryDirectory() as folder, start_cluster(folder, masters=nodes) as cluster:
        stage = Stage(cluster)
        for number in range(TURNS + 1):
            calls = [("append", stage.append), ("deliver", stage.deliver), ("emit", stage.emit)]
            for name, call in [*calls, ("", stage.deliver)]:
                spent = stage.measured(call, events)
                if number and name:  # the first loads the scripts
                    samples[name].append(spent)
            if nodes == 1:
                samples["task"].append(stage.measured(stage.task, CHUNK))
    return {name: middle(spent) for name, spent in samples.items() if spent}


def middle(spent: list[Spent]) -> Spent:
    nodes = zip(*(sample.nodes for sample in spent), strict=True)
    return Spent(tuple(map(median, nodes)), median(sample.process for sample in spent))


def main() -> int:
    single, three = measure(1), measure(3)
    costs = replace(
        Costs(),
        # Of three nodes, where each is called more often for less than one alone is.
        append=round(three["append"].total, 2),
        deliver=round(three["deliver"].total, 2),
        emit=round(single["emit"].process, 2),
        task=round(single["task"].total, 2),
        chunk=CHUNK,
    )
    print(json.dumps(asdict(costs)))
    for name in ("append", "deliver"):
        alone, spent = single[name].busiest, three[name]
        print(
            f"{name}: one node {alone:.1f} µs; of three the busiest {spent.busiest:.1f} µs, all "
            f"{spent.total:.1f}; so they allow {alone / spent.busiest:.2f} times the events",
            file=sys.stderr,
        )
        expected = (spent.total * share for share in shares(len(DOMAINS), 0, 3))
        pairs = zip(expected, spent.nodes, strict=True)
        text = "; ".join(f"{model:.1f} : {real:.1f}" for model, real in pairs)
        print(f"{name}: µs of each node, model : measured: {text}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
