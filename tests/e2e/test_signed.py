"""Signed events on real workers: they run in chunks, and copies of them do not run."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis

from celeriac import EventBus
from celeriac.delivery import Group
from celeriac.event_log import EntryKind
from celeriac.security.generate import generate
from celeriac.store.redis.keys import Keys
from tests.e2e.conftest import Deployment

COUNT = 400
# A type, and a handler that wants it: one of many in its domain, one alone, one of batches.
HANDLERS = [
    ("order.placed", "billing.note"),
    ("work.one", "billing.work"),
    ("metric.cpu", "billing.store"),
]


@pytest.fixture
def orders(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> EventBus:
    """A service that signs. Workers demand its signature from here on."""
    private, public = (json.dumps(key) for key in generate("orders-1", sources=["orders"]))
    monkeypatch.setenv("CELERIAC_TRUSTED_KEYS", public)
    monkeypatch.setenv("CELERIAC_REQUIRE_SIGNATURE", "true")
    return EventBus(service="orders", redis_url=deployment.server.url, signing_key=private)


def emit(orders: EventBus, type: str) -> None:
    orders.emit_many([(type, {"n": n}) for n in range(COUNT)])
    orders.emit(type, {"n": 1})
    orders.emit(type, {"n": 1}, id="mine")


def copy_all(deployment: Deployment, domain: str) -> set[str]:
    """Append every event again, in each field in turn; return the ids."""
    client: Any = redis.Redis.from_url(deployment.server.url)
    key, ids = Keys().events(domain), set()
    for n, (_, fields) in enumerate(client.xrange(key)):
        [body] = fields.values()
        ids.add(json.loads(body)["id"])
        for kind in (*EntryKind,)[n % 4 :][:2]:
            client.xadd(key, {kind.value: body})
    client.close()
    return ids


@pytest.mark.parametrize("type, handler", HANDLERS)
def test_copies_do_not_run_and_a_forged_event_does_not_either(
    deployment: Deployment, orders: EventBus, type: str, handler: str
) -> None:
    domain = type.partition(".")[0]
    deployment.worker()
    deployment.joined(handler, domain)
    emit(orders, type)
    deployment.until_settled()
    ids = copy_all(deployment, domain)
    forged = deployment.bus.emit(type, {"n": 1}, source="orders")
    deployment.until_settled()
    assert COUNT + 2 == len(ids)
    assert dict.fromkeys(ids, 1) == deployment.runs(handler)
    assert forged not in ids
    stats = deployment.bus.service.backend.deliveries.stats(Group(domain, handler))
    assert COUNT + 2 == stats["processed"]
    if domain != "order":
        client: Any = redis.Redis.from_url(deployment.server.url)
        assert client.exists(Keys().runs(domain, handler)), "they ran in chunks"
        client.close()


@pytest.mark.parametrize("type, handler", HANDLERS)
def test_a_worker_that_is_killed_loses_none_of_them(
    deployment: Deployment, orders: EventBus, type: str, handler: str
) -> None:
    """What it had noted as verified and not run is no copy for the next one."""
    domain = type.partition(".")[0]
    first = deployment.worker()
    deployment.joined(handler, domain)
    emit(orders, type)
    deployment.until(lambda: bool(deployment.runs(handler)), what="its first run")
    first.kill()
    ids = copy_all(deployment, domain)
    deployment.worker()
    deployment.until_settled()
    assert ids == set(deployment.runs(handler))
    assert not deployment.bus.service.backend.deliveries.dead(domain)
