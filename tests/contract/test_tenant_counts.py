"""Counts by tenant: equal in every process, on each store."""

from __future__ import annotations

import pytest

from celeriac.delivery.tenant_counts import TenantCount, TenantCounts, parse_count
from celeriac.invalid_record import InvalidRecords
from celeriac.settings import Settings
from celeriac.store.memory.tenant_counts import MemoryTenantCounts
from celeriac.store.redis.connection import service_client
from celeriac.store.redis.emitted import flush_emitted
from celeriac.store.redis.tenant_counts import RedisTenantCounts

EMITTED = TenantCount("emitted", "acme")
DEAD = TenantCount("dead", "é处理", "billing.charge")


def in_redis(url: str, namespace: str) -> RedisTenantCounts:
    settings = Settings.load({}, redis_url=url, namespace=namespace)
    return RedisTenantCounts(settings, service_client(settings), InvalidRecords())


@pytest.fixture(params=["memory", "redis", "cluster"])
def processes(request: pytest.FixtureRequest, namespace: str) -> tuple[TenantCounts, TenantCounts]:
    """Two processes on one store."""
    if request.param == "memory":
        counts = MemoryTenantCounts()
        return counts, counts
    is_cluster = request.param == "cluster"
    server = request.getfixturevalue("redis_cluster" if is_cluster else "redis_server")
    return in_redis(server.url, namespace), in_redis(server.url, namespace)


def test_what_several_processes_note_is_added(
    processes: tuple[TenantCounts, TenantCounts],
) -> None:
    first, second = processes
    assert first.read() == {}
    first.note([EMITTED, EMITTED, DEAD])
    second.note([EMITTED])
    flush_emitted()
    assert first.read() == second.read() == {EMITTED: 3, DEAD: 1}
    second.note([DEAD])
    flush_emitted()
    assert first.read() == {EMITTED: 3, DEAD: 2}


@pytest.mark.parametrize("field", ["emitted", "emitted a b", "lost a b.c", "dead a", "dead  b.c"])
def test_a_field_that_is_no_count_is_reported_and_skipped(
    redis_url: str, namespace: str, field: str
) -> None:
    with pytest.raises(ValueError):
        parse_count(field)
    counts = in_redis(redis_url, namespace)
    counts.client.hset(counts.key, mapping={field: "1", EMITTED.field: "2", "emitted x": "y"})
    assert counts.read() == {EMITTED: 2}
    assert len(list(counts.invalid)) == 2


def test_a_key_of_another_type_is_no_error(redis_url: str, namespace: str) -> None:
    counts = in_redis(redis_url, namespace)
    counts.client.set(counts.key, "text")
    counts.note([EMITTED])
    flush_emitted()
    assert counts.read() == {}
