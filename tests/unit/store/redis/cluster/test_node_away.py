"""A node that is away fails its own domains, and takes nothing from the others with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from celeriac.delivery import FetchRequest, Group
from celeriac.event_log import EntryKind
from celeriac.settings import Settings
from celeriac.store.redis.deliveries import RedisDeliveryStore
from celeriac.store.redis.event_log import redis_event_log
from devtools.cluster import EmbeddedCluster, start_cluster

DOMAINS = [f"domain{n}" for n in range(12)]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[EmbeddedCluster]:
    # The other nodes would refuse all commands once they notice that one is away.
    with start_cluster(tmp_path, node_timeout_ms=60_000) as cluster:
        yield cluster


def test_what_other_nodes_gave_is_not_lost_with_it(cluster: EmbeddedCluster) -> None:
    """It would be queued under this worker, and recovered only when its lease expires."""
    settings = Settings.load({}, redis_url=cluster.url)
    event_log, deliveries = redis_event_log(settings), RedisDeliveryStore(settings)
    groups = [Group(domain, "billing.note") for domain in DOMAINS]
    for group in groups:
        event_log.join(group.domain, group.handler, "0")
        event_log.append(group.domain, b'{"id": "1"}')
    deliveries.fetch(
        "w0", [FetchRequest(group, 1, max_new=0) for group in groups]
    )  # loads the script
    dead = cluster.masters[1]
    lost = {
        d for d in DOMAINS if event_log.client.node_of(event_log.keys.events(d))[1] == dead.port
    }
    dead.kill()
    taken = deliveries.fetch("w1", [FetchRequest(group, 10, max_new=10) for group in groups])
    given = {group.domain for group, one in zip(groups, taken, strict=True) if one.deliveries}
    assert given == set(DOMAINS) - lost
    assert lost

    with pytest.raises(redis.RedisError) as caught:
        event_log.append_many(
            [(domain, b"{}", EntryKind.FOREIGN, 0) for domain in (*(set(DOMAINS) - lost), *lost)]
        )
    assert caught.value.appended == len(DOMAINS) - len(lost)  # type: ignore[attr-defined]
    with pytest.raises(redis.RedisError):
        deliveries.fetch(
            "w1", [FetchRequest(group, 10) for group in groups if group.domain in lost]
        )
