"""A node that is away fails its own domains, and takes nothing from the others with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from celeriac.delivery import Ask, Lane
from celeriac.event_log import EntryKind
from celeriac.settings import Settings
from celeriac.store.redis.deliveries import RedisLedger
from celeriac.store.redis.event_log import redis_log
from devtools.cluster import EmbeddedCluster, start_cluster

DOMAINS = [f"domain{n}" for n in range(12)]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[EmbeddedCluster]:
    with start_cluster(tmp_path) as cluster:
        yield cluster


def test_what_other_nodes_gave_is_not_lost_with_it(cluster: EmbeddedCluster) -> None:
    """It would be queued under this worker, and healed only when its lease is over."""
    settings = Settings.load({}, redis_url=cluster.url)
    log, ledger = redis_log(settings), RedisLedger(settings)
    lanes = [Lane(domain, "billing.note") for domain in DOMAINS]
    for lane in lanes:
        log.join(lane.domain, lane.handler, "0")
        log.append(lane.domain, b'{"id": "1"}')
    ledger.take("w0", [Ask(lane, 1, most_new=0) for lane in lanes])  # loads the script
    dead = cluster.masters[1]
    lost = {d for d in DOMAINS if log.client.node_of(log.keys.events(d))[1] == dead.port}
    dead.kill()
    taken = ledger.take("w1", [Ask(lane, 10, most_new=10) for lane in lanes])
    given = {lane.domain for lane, one in zip(lanes, taken, strict=True) if one.deliveries}
    assert given == set(DOMAINS) - lost
    assert lost

    with pytest.raises(redis.RedisError) as caught:
        log.append_many(
            [(domain, b"{}", EntryKind.FOREIGN, 0) for domain in (*(set(DOMAINS) - lost), *lost)]
        )
    assert caught.value.appended == len(DOMAINS) - len(lost)  # type: ignore[attr-defined]
    with pytest.raises(redis.RedisError):
        ledger.take("w1", [Ask(lane, 10) for lane in lanes if lane.domain in lost])
