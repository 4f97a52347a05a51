"""The suite runs on each implementation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from celeriac.ledger import ORDERED, Lane
from celeriac.settings import Settings
from tests.contract.store import DOMAIN, MemoryStore, RedisStore, Store

MakeStore = Callable[..., Store]


@pytest.fixture(params=["memory", "redis", "cluster"])
def make_store(request: pytest.FixtureRequest, namespace: str) -> MakeStore:
    """Makes a store with the given settings."""
    if request.param == "memory":
        return lambda **given: MemoryStore(Settings.load({}, **given))
    if request.param == "redis":
        url = request.getfixturevalue("redis_url")
    else:
        url = request.getfixturevalue("redis_cluster").url

    def make(**given: Any) -> Store:
        return RedisStore(Settings.load({}, redis_url=url, namespace=namespace, **given))

    return make


@pytest.fixture
def store(make_store: MakeStore) -> Store:
    return make_store()


@pytest.fixture
def lane(store: Store) -> Lane:
    """A handler that joined before anything was emitted."""
    lane = Lane(DOMAIN, "billing.charge")
    store.log.join(DOMAIN, lane.handler, "0")
    return lane


@pytest.fixture
def ordered(store: Store) -> Lane:
    """As `lane`, with `ordered=True`."""
    lane = Lane(DOMAIN, "billing.ledger", ORDERED)
    store.log.join(DOMAIN, lane.handler, "0")
    return lane
