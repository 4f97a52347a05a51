"""The suite runs on each implementation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from celeriac.delivery import ORDERED, Lane
from celeriac.settings import Settings
from tests.contract.script_watch import faults, watched
from tests.contract.store import DOMAIN, MemoryStore, RedisStore, Store

MakeStore = Callable[..., Store]


@pytest.fixture(params=["memory", "redis", "cluster"])
def make_store(request: pytest.FixtureRequest, namespace: str) -> Iterator[MakeStore]:
    """Makes a store with the given settings. On one Redis, no script may touch a key that its
    caller did not declare; the nodes of a cluster refuse those of other slots by themselves."""
    if request.param == "memory":
        yield lambda **given: MemoryStore(Settings.load({}, **given))
        return
    is_cluster = request.param == "cluster"
    server = request.getfixturevalue("redis_cluster" if is_cluster else "redis_server")

    def make(**given: Any) -> Store:
        return RedisStore(Settings.load({}, redis_url=server.url, namespace=namespace, **given))

    if is_cluster:
        yield make
        return
    with watched(server.url) as watch:
        yield make
    assert [] == faults(watch)


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
