"""The suite runs on each implementation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from celeriac.delivery import ORDERED, Group
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
def group(store: Store) -> Group:
    """A handler that joined before anything was emitted."""
    group = Group(DOMAIN, "billing.charge")
    store.event_log.join(DOMAIN, group.handler, "0")
    return group


@pytest.fixture
def ordered(store: Store) -> Group:
    """As `group`, with `ordered=True`."""
    group = Group(DOMAIN, "billing.ledger", ORDERED)
    store.event_log.join(DOMAIN, group.handler, "0")
    return group
