"""A server that deletes what it has no room for is named at a worker's start."""

from __future__ import annotations

from typing import Any

import pytest

from celeriac.dispatcher import eviction
from celeriac.dispatcher.eviction import EvictionWatch
from celeriac.event_log.event_log import Eviction
from celeriac.settings import Settings
from celeriac.store.redis.connection import open_client
from celeriac.store.redis.event_log import redis_event_log
from tests.logged import messages_of


def test_it_is_reported_at_the_first_check_and_when_more_is_lost(
    caplog: pytest.LogCaptureFixture,
) -> None:
    watch = EvictionWatch()
    for evicted in (3, 3, 240_000):
        watch.check([Eviction("redis://h", "allkeys-lru", evicted), Eviction("i", "noeviction", 9)])
    said = messages_of(caplog, eviction)
    assert len(said) == 2
    assert all("maxmemory-policy allkeys-lru" in one for one in said)
    assert "has evicted 3 keys" in said[0]
    assert "has evicted 240000 keys" in said[1]
    assert "Set maxmemory-policy noeviction" in said[0]


def test_the_servers_policy_is_read_and_no_password_is_shown(redis_url: str) -> None:
    client: Any = open_client(redis_url, answer_within=5)
    before = client.config_get("maxmemory-policy")["maxmemory-policy"]
    client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        (found,) = redis_event_log(Settings.load({}, redis_url=redis_url)).evictions()
    finally:
        client.config_set("maxmemory-policy", before)
    assert found.policy == "allkeys-lru"
    assert found.evicted >= 0
