"""`python -m benchmarks.spread`: what events cost each node of a cluster of one and of three.

Prints the costs as JSON for `benchmarks.simulate --costs`, and how far the model's shares of the
nodes are from the measured ones. Twelve domains, chunks of 200, no workers: log and ledger are
called as a worker calls them, so that chunks are alike on one node and on three. CPU time is read
from /proc, so neighbours on the machine disturb it little. Takes about a minute.
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

from benchmarks.crew import cpu_seconds
from benchmarks.payload import BODY, ORDER
from benchmarks.simulate import Costs, shares
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
HINT = b"x" * 1500


@dataclass(frozen=True)
class Spent:
    """CPU µs of each node for each event, and of this process."""

    nodes: tuple[float, ...]
    own: float

    @property
    def total(self) -> float:
        return sum(self.nodes)

    @property
    def busiest(self) -> float:
        return max(self.nodes)


class Stage:
    """A cluster, and a log and a ledger on it."""

    def __init__(self, cluster: EmbeddedCluster, domains: Sequence[str] = DOMAINS) -> None:
        self.cluster, self.domains = cluster, domains
        settings = Settings.load({}, redis_url=cluster.url)
        self.log, self.deliveries = redis_event_log(settings), RedisDeliveryStore(settings)
        self.bus = EventBus(redis_url=cluster.url, source="spread")
        self.groups = [Group(domain, "billing.note") for domain in domains]
        for group in self.groups:
            self.log.join(group.domain, group.handler, "0")

    def measured(self, call: Any, events: int) -> Spent:
        pids = [node.pid for node in self.cluster.masters]
        before, own = [cpu_seconds([pid]) for pid in pids], cpu_seconds([os.getpid()])
        call()
        after = [cpu_seconds([pid]) for pid in pids]
        spent = [(b - a) * 1e6 / events for a, b in zip(before, after, strict=True)]
        return Spent(tuple(spent), (cpu_seconds([os.getpid()]) - own) * 1e6 / events)

    def append(self) -> None:
        items = [(domain, BODY, EntryKind.MADE, 0) for domain in self.domains]
        self.log.append_many([item for item in items for _ in range(CHUNK)])

    def emit(self) -> None:
        types = [f"{domain}.placed" for domain in self.domains]
        self.bus.emit_many((type, ORDER) for type in types for _ in range(CHUNK))

    def deliver(self) -> None:
        asks = [FetchRequest(group, CHUNK, max_new=CHUNK) for group in self.groups]
        for group, taken in zip(self.groups, self.deliveries.fetch("w1", asks), strict=True):
            ids = {one.entry: f"{group.domain}-{one.entry}" for one in taken.deliveries}
            claimed = self.deliveries.claim("w1", group, list(ids.items()), 10)
            done = [
                Completion(c.entry, ids[c.entry], c.attempt, Outcome.PROCESSED) for c in claimed
            ]
            if len(done) != CHUNK or self.deliveries.complete("w1", group, done):
                raise RuntimeError(f"{group}: {len(done)} of {CHUNK} were handled")

    def hint(self) -> None:
        """What a broker does for a hint, at least: it is pushed, and popped."""
        with self.cluster.client(self.cluster.masters[0]) as client:
            for _ in range(CHUNK):
                client.lpush("{hint}", HINT)
                client.rpop("{hint}")


def measure(nodes: int) -> dict[str, Spent]:
    """Median of some turns, by the busiest node."""
    events = CHUNK * len(DOMAINS)
    found: dict[str, list[Spent]] = {"append": [], "deliver": [], "emit": [], "hint": []}
    with tempfile.TemporaryDirectory() as folder, start_cluster(folder, masters=nodes) as cluster:
        stage = Stage(cluster)
        for turn in range(TURNS + 1):
            calls = [("append", stage.append), ("deliver", stage.deliver), ("emit", stage.emit)]
            for name, call in [*calls, ("", stage.deliver)]:
                spent = stage.measured(call, events)
                if turn and name:  # the first loads the scripts
                    found[name].append(spent)
            if nodes == 1:
                found["hint"].append(stage.measured(stage.hint, CHUNK))
    return {name: middle(spent) for name, spent in found.items() if spent}


def middle(spent: list[Spent]) -> Spent:
    nodes = zip(*(one.nodes for one in spent), strict=True)
    return Spent(tuple(map(median, nodes)), median(one.own for one in spent))


def main() -> int:
    one, three = measure(1), measure(3)
    costs = replace(
        Costs(),
        # Of three nodes, where each is called more often for less than one alone is.
        append=round(three["append"].total, 2),
        deliver=round(three["deliver"].total, 2),
        emit=round(one["emit"].own, 2),
        hint=round(one["hint"].total, 2),
        chunk=CHUNK,
    )
    print(json.dumps(asdict(costs)))
    for name in ("append", "deliver"):
        alone, spent = one[name].busiest, three[name]
        print(
            f"{name}: one node {alone:.1f} µs; of three the busiest {spent.busiest:.1f} µs, all "
            f"{spent.total:.1f}; so they allow {alone / spent.busiest:.2f} times the events",
            file=sys.stderr,
        )
        expected = (spent.total * share for share in shares(len(DOMAINS), 0, 3))
        pairs = zip(expected, spent.nodes, strict=True)
        told = "; ".join(f"{model:.1f} : {real:.1f}" for model, real in pairs)
        print(f"{name}: µs of each node, model : measured: {told}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
