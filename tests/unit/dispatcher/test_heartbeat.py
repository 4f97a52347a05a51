"""What a worker's heartbeat brings back of the shared records."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
import pytest

from celeriac.delivery import Group
from celeriac.settings import Settings
from celeriac.store.factory import redis_backend
from celeriac.tracking import Matrix
from tests.unit.tracking.shop import Shop

NAMES = {"billing.charge", "billing.audit"}


@pytest.fixture
def shop(redis_url: str, namespace: str) -> Shop:
    settings = Settings.load({}, redis_url=redis_url, namespace=namespace)
    shop = Shop(redis_backend(settings), settings)
    shop.on("billing.charge", "order.placed")
    shop.on("billing.audit", "#")
    shop.start()
    look_for_domains(shop)
    return shop


def look_for_domains(shop: Shop) -> None:
    """As if the time for it had come."""
    shop.dispatchers["billing"]._members.look_for_domains()
    shop.dispatch()


def next_beat(shop: Shop) -> None:
    """As if the time for it had come."""
    shop.dispatchers["billing"]._maintenance._last.pop("heartbeat")
    shop.dispatch()


def registered(shop: Shop) -> set[str]:
    return set(shop.backend.registry.handlers())


def test_a_deleted_registry_is_whole_again_after_a_beat(shop: Shop) -> None:
    keys, client = shop.backend.event_log.keys, shop.backend.event_log.client  # type: ignore[attr-defined]
    before = dict(shop.backend.registry.handlers())
    for key in (keys.handlers, keys.workers, keys.domains):
        client.delete(key)
    assert set() == registered(shop)
    next_beat(shop)
    assert before == shop.backend.registry.handlers(), "with all that was known of them"
    assert [shop.services["billing"].worker] == [w.name for w in shop.backend.registry.workers()]
    assert "order" in shop.backend.event_log.domains()


def test_a_record_that_cannot_be_read_is_replaced_after_a_beat(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    keys, client = shop.backend.event_log.keys, shop.backend.event_log.client  # type: ignore[attr-defined]
    client.hset(keys.handlers, "billing.charge", b"\xff")
    with caplog.at_level(logging.WARNING):
        next_beat(shop)
    assert NAMES == registered(shop)
    assert "billing.charge: its record" in caplog.text
    assert "billing.audit: its record" not in caplog.text
    assert [] == list(shop.backend.invalid)


def test_a_handler_that_an_operator_removed_does_not_come_back(shop: Shop) -> None:
    shop.backend.registry.unregister("billing.charge")
    next_beat(shop)
    assert {"billing.audit"} == registered(shop)


def register(shop: Shop, *patterns: str, **fields: Any) -> None:
    """As another version of billing.charge does."""
    before = shop.backend.registry.handlers()["billing.charge"]
    record = msgspec.structs.replace(before, patterns=patterns, **fields)
    shop.backend.registry.register(record)


def patterns(shop: Shop) -> set[str]:
    return set(shop.backend.registry.handlers()["billing.charge"].patterns)


def other_worker(shop: Shop, *patterns: str) -> None:
    """Another living worker, whose code of billing.charge has these patterns."""
    worker = shop.record(shop.services["billing"])
    there = {"billing.charge": patterns}
    shop.backend.registry.heartbeat(msgspec.structs.replace(worker, name="other", patterns=there))


def test_the_patterns_of_a_newer_registration_stay_in_force(shop: Shop) -> None:
    register(shop, "order.placed", "order.#")
    other_worker(shop, "order.placed", "order.#")
    newer = shop.backend.registry.handlers()["billing.charge"]
    next_beat(shop)
    assert newer == shop.backend.registry.handlers()["billing.charge"]


def test_a_registration_that_older_code_wrote_over_is_whole_again_after_a_beat(shop: Shop) -> None:
    register(shop, "order.amended", since={})
    next_beat(shop)
    record = shop.backend.registry.handlers()["billing.charge"]
    assert {"order.placed", "order.amended"} == set(record.patterns)
    assert {"order"} == set(record.since)
    group = Group("order", "billing.charge")
    assert "order.placed" in shop.backend.deliveries.patterns(group)


def test_the_dispatcher_uses_the_records_of_the_last_heartbeat(shop: Shop) -> None:
    records = shop.dispatchers["billing"]._members.records
    register(shop, "order.placed", retired={"order.old": 5})
    assert {} == records["billing.charge"].retired
    next_beat(shop)
    records = shop.dispatchers["billing"]._members.records
    assert {"order.old": 5} == records["billing.charge"].retired


def test_a_pattern_that_no_worker_has_is_retired_ten_minutes_after_it_was_noticed(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    group = Group("order", "billing.charge")
    shop.backend.deliveries.note_patterns(group, ["order.placed", "order.#"])
    register(shop, "order.placed", "order.#")
    next_beat(shop)
    record = shop.backend.registry.handlers()["billing.charge"]
    assert {"order.#"} == set(record.leaving)
    assert "no worker has its pattern order.#" in caplog.text
    assert {"order.placed", "order.#"} == patterns(shop)
    register(shop, *record.patterns, leaving={"order.#": record.leaving["order.#"] - 600_000})
    next_beat(shop)
    record = shop.backend.registry.handlers()["billing.charge"]
    assert ("order.placed",) == record.patterns
    assert {"order.#"} == set(record.retired)
    assert ("order.placed",) == shop.backend.deliveries.patterns(group)


def test_a_worker_that_has_a_leaving_pattern_keeps_it(shop: Shop) -> None:
    register(shop, "order.placed", "order.#", leaving={"order.#": 1})
    other_worker(shop, "order.#")
    next_beat(shop)
    record = shop.backend.registry.handlers()["billing.charge"]
    assert {} == record.leaving
    assert {"order.placed", "order.#"} == patterns(shop)


def test_after_a_server_lost_all_everything_comes_back(shop: Shop) -> None:
    client = shop.backend.event_log.client  # type: ignore[attr-defined]
    for key in client.scan_iter(f"{shop.settings.namespace}:*"):
        client.delete(key)
    next_beat(shop)
    shop.emit("order.placed", id="after")
    look_for_domains(shop)
    shop.run_until_idle()
    assert NAMES == registered(shop)
    states = {c.handler: c.state.value for c in Matrix(shop.backend).status("after").cells}
    assert dict.fromkeys(NAMES, "processed") == states
