"""Events/s grow with the nodes: what bounds them is the one core of the busiest."""

from __future__ import annotations

from itertools import islice
from typing import Any

import redis

from celeriac.delivery import Completion, FetchRequest, Group, Outcome
from celeriac.event import build_event, encode
from celeriac.event_log import EntryKind
from celeriac.settings import Settings
from celeriac.store.redis.deliveries import RedisDeliveryStore
from celeriac.store.redis.event_log import redis_event_log
from devtools.cluster import EmbeddedCluster

EVENTS = 3000
CHUNK = 100


def test_three_nodes_share_what_one_would_do(
    redis_cluster: EmbeddedCluster, namespace: str
) -> None:
    """The same events of twelve domains, all of them on one node, and four on each: emitted, taken,
    claimed and finished. What the busiest node runs for them falls to about a third."""
    settings = Settings.load({}, redis_url=redis_cluster.url, namespace=namespace)
    of_node: dict[Any, list[str]] = {}
    event_log = redis_event_log(settings)
    for domain in (f"place{n}" for n in range(100)):
        of_node.setdefault(event_log.client.node_of(event_log.keys.events(domain)), []).append(
            domain
        )
    together = next(iter(of_node.values()))[:12]
    apart = [domain for domains in of_node.values() for domain in islice(domains, 12, 16)]
    assert (len(together), len(apart)) == (12, 12)

    for domains in (together, apart):
        handle(settings, domains, 12 * CHUNK)  # loads the scripts
    alone, shared = (busiest(redis_cluster, settings, domains) for domains in (together, apart))
    assert 2.7 < alone / shared < 3.3, f"{alone:,} commands of the one node, {shared:,} of three"


def busiest(cluster: EmbeddedCluster, settings: Settings, domains: list[str]) -> int:
    """Return the most commands, those of scripts included, that a node runs for the events."""
    before = [commands(node.port) for node in cluster.masters]
    handle(settings, domains, EVENTS)
    after = [commands(node.port) for node in cluster.masters]
    return max(now - then for then, now in zip(before, after, strict=True))


def commands(port: int) -> int:
    with redis.Redis(port=port) as client:
        ran: dict[str, dict[str, int]] = client.info("commandstats")
    return sum(stats["calls"] for stats in ran.values())


def handle(settings: Settings, domains: list[str], count: int) -> None:
    event_log, deliveries = redis_event_log(settings), RedisDeliveryStore(settings)
    groups = [Group(domain, "billing.note") for domain in domains]
    for group in groups:
        event_log.join(group.domain, group.handler, "0")
    body = encode(build_event("place.visited", {"n": 1}, source="test"))
    for _ in range(count // (12 * CHUNK) or 1):
        event_log.append_many(
            [(domain, body, EntryKind.FOREIGN, 0) for domain in domains for _ in range(CHUNK)]
        )
        for taken, group in zip(
            deliveries.fetch("w1", [FetchRequest(group, 1000, max_new=1000) for group in groups]),
            groups,
            strict=True,
        ):
            assert len(taken.deliveries) == CHUNK
            pairs = [(one.entry, f"{group.domain}-{one.entry}") for one in taken.deliveries]
            claimed = deliveries.claim("w1", group, pairs, 10)
            ids = dict(pairs)
            done = [
                Completion(one.entry, ids[one.entry], one.attempt, Outcome.PROCESSED)
                for one in claimed
            ]
            assert deliveries.complete("w1", group, done) == []
