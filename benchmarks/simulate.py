"""`python -m benchmarks.simulate`: nodes and cores for a load, from measured costs.

Two models. *Sizing* divides work by what a core may be busy (`LOAD`): the cores of each resource
are rate × µs for each / 10⁶ / LOAD. *Queueing* is a discrete-event simulation of the log's nodes:
events come at random (Poisson) to domains of unequal weight (Zipf), each domain is stored on the
node of its slot, and a node runs one command after another, as Redis does. It reports how long
commands wait. Costs are CPU µs as `benchmarks.cluster_costs` measures them.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import random
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from redis.crc import key_slot

LOAD = 0.6  # of a core, so that a queue stays short and there is room for a node's failure
SLOTS = 16384


@dataclass(frozen=True)
class Costs:
    """CPU µs for each event or delivery, at chunks of some hundreds."""

    append: float = 3.8  # at the node, in bulk
    deliver: float = 37.2  # at the node: fetch, claim and complete together
    emit: float = 14.0  # at the producer, in bulk
    work: float = (
        75.0  # at the worker: dispatcher and pool, `workers µs/run` of `bench --only costs`
    )
    task: float = 66.0  # at the broker, for one delivery task
    chunk: int = 200  # deliveries in a delivery task under load


@dataclass(frozen=True)
class Need:
    """Cores, each of them at most LOAD busy."""

    rate: float
    nodes: int
    broker: float
    producers: float
    workers: float

    @property
    def cores(self) -> float:
        return self.nodes + self.broker + self.producers + self.workers


def size(rate: float, handlers: int, costs: Costs, *, imbalance: float = 1.0) -> Need:
    """What so many events a second need, each for so many handlers.

    `imbalance` is the busiest node's share over the mean one, see `imbalance_of`.
    """
    deliveries = rate * handlers
    at_nodes = rate * costs.append + deliveries * costs.deliver
    return Need(
        rate,
        nodes=math.ceil(at_nodes * imbalance / 1e6 / LOAD),
        broker=deliveries / costs.chunk * costs.task / 1e6 / LOAD,
        producers=rate * costs.emit / 1e6 / LOAD,
        workers=deliveries * costs.work / 1e6 / LOAD,
    )


def shares(domains: int, skew: float, nodes: int, parts: int = 1) -> list[float]:
    """Each node's share of all events: Zipf's law over domains, each split into so many parts.

    The real hash decides the slot of `celeriac:{domain}:`, and slots lie evenly on the nodes.
    """
    weights = [1 / (rank + 1) ** skew for rank in range(domains)]
    total, loads = sum(weights), [0.0] * nodes
    for rank, weight in enumerate(weights):
        for part in range(parts):
            domain = f"domain{rank}" if parts == 1 else f"domain{rank}-{part}"
            slot = key_slot(domain.encode())
            loads[slot * nodes // SLOTS] += weight / total / parts
    return loads


def imbalance_of(loads: Sequence[float]) -> float:
    """The busiest node's share over the mean one: 1 is perfect balance."""
    return max(loads) * len(loads)


@dataclass(frozen=True)
class Waiting:
    """What commands waited for their node, ms, and the busiest node's load."""

    p50: float
    p99: float
    busiest: float
    done: float  # events a second


def run(rate: float, handlers: int, costs: Costs, loads: Sequence[float], *, seconds: float = 2.0,
        group: int = 50, seed: int = 1) -> Waiting:  # fmt: skip
    """Simulates the nodes: groups of events come at random, each is appended, then delivered.

    A delivery of a group comes to the node when it was appended, and each handler's apart.
    """
    chance = random.Random(seed)
    free = [0.0] * len(loads)
    busy = [0.0] * len(loads)
    waits: list[float] = []
    arrivals: list[tuple[float, int, float, int]] = []
    now, events = 0.0, 0
    nodes = range(len(loads))
    while now < seconds:
        now += chance.expovariate(rate / group)
        node = chance.choices(nodes, loads)[0]
        arrivals.append((now, node, group * costs.append / 1e6, handlers))
    heapq.heapify(arrivals)
    last = 0.0
    while arrivals:
        at, node, duration, following = heapq.heappop(arrivals)
        begun = max(at, free[node])
        waits.append(begun - at)
        free[node] = begun + duration
        busy[node] += duration
        last = max(last, free[node])
        if following:
            events += group
            for _ in range(following):
                work = (free[node], node, group * costs.deliver / 1e6, 0)
                heapq.heappush(arrivals, work)
    waits.sort()
    p50, p99 = (waits[min(len(waits) - 1, int(len(waits) * s))] * 1000 for s in (0.5, 0.99))
    return Waiting(p50, p99, max(busy) / last, events / last)


def table(costs: Costs, handlers: int, domains: int, skew: float) -> Iterable[str]:
    """Markdown: what 10⁴ to 10⁶ events a second need, with domains whole, and split."""
    yield "| events/s | parts of a domain | nodes | busiest : mean | broker | producers | workers "
    yield "| p99 wait at a node |\n|--:|--:|--:|--:|--:|--:|--:|--:|"
    for rate in (1e4, 3e4, 1e5, 3e5, 1e6):
        for parts in (1, 16, 128):
            need = fitted(rate, handlers, costs, domains, skew, parts)
            if need is None:
                yield f"| {rate:,.0f} | {parts} | a domain is more than a core | | | | | |"
                continue
            loads = shares(domains, skew, need.nodes, parts)
            waiting = run(rate, handlers, costs, loads, seconds=max(0.2, 4e4 / rate))
            yield (
                f"| {rate:,.0f} | {parts} | {need.nodes} | {imbalance_of(loads):.2f} "
                f"| {math.ceil(need.broker)} | {math.ceil(need.producers)} "
                f"| {math.ceil(need.workers)} | {waiting.p99:.1f} ms |"
            )


def fitted(
    rate: float, handlers: int, costs: Costs, domains: int, skew: float, parts: int
) -> Need | None:
    """Return the smallest number of nodes whose busiest node is at most LOAD busy, or None."""
    of_one = rate * (costs.append + handlers * costs.deliver) / 1e6
    least = size(rate, handlers, costs)
    if of_one * max(_weights(domains, skew)) / parts > LOAD:
        return None
    for nodes in range(least.nodes, 4 * least.nodes + 200):
        if of_one * max(shares(domains, skew, nodes, parts)) <= LOAD:
            return replace(least, nodes=nodes)
    return None


def _weights(domains: int, skew: float) -> list[float]:
    weights = [1 / (rank + 1) ** skew for rank in range(domains)]
    return [weight / sum(weights) for weight in weights]


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.simulate", description=__doc__)
    parser.add_argument("--handlers", type=int, default=3, help="of each event")
    parser.add_argument("--domains", type=int, default=100)
    parser.add_argument("--skew", type=float, default=0.8, help="of Zipf's law; 0: all alike")
    parser.add_argument(
        "--costs", help="JSON object of Costs, as benchmarks.cluster_costs prints it"
    )
    options = parser.parse_args(argv)
    costs = Costs(**json.loads(options.costs)) if options.costs else Costs()
    rows = list(table(costs, options.handlers, options.domains, options.skew))
    print(rows[0] + "\n".join(rows[1:]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
