"""Counts by tenant: only of named tenants, and only where a setting names some."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from celeriac import ConfigurationError, Event, EventBus, Skip
from celeriac.delivery.tenant_counts import TenantCount
from celeriac.settings import MAX_METRICS_TENANTS
from celeriac.testing import in_memory
from tests.unit.observability.metrics.conftest import Scrape
from tests.unit.observability.metrics.conftest import scrape as scrape

NOWHERE = "redis://127.0.0.1:1/0"
TENANTS = ("acme", "globex", "initech", None, "acme")


def bus_of(tenants: str) -> EventBus:
    bus = EventBus(service="billing", redis_url=NOWHERE, metrics_tenants=tenants)
    failed: set[str] = set()

    @bus.on("order.placed", retries=1, backoff=0.0)
    def charge(event: Event[Any]) -> None:
        if event.tenant == "globex":
            raise ValueError("declined")
        if event.tenant == "acme" and event.id not in failed:
            failed.add(event.id)
            raise ValueError("once")

    @bus.on("order.placed")
    def ignore(event: Event[Any]) -> None:
        raise Skip

    @bus.on("order.placed", batch=10)
    def store(events: list[Event[Any]]) -> None: ...

    return bus


def counted(tenants: str) -> Mapping[TenantCount, int]:
    bus = bus_of(tenants)
    with in_memory(bus) as memory:
        bus.emit_many([{"type": "order.placed", "tenant": tenant} for tenant in TENANTS])
        memory.run_until_idle()
        return memory.store.backend.tenant_counts.read()


def test_named_tenants_are_counted_each_and_the_others_together() -> None:
    charge, store = "billing.charge", "billing.store"
    assert counted("acme, globex") == {
        TenantCount("emitted", "acme"): 2,
        TenantCount("emitted", "globex"): 1,
        TenantCount("emitted", "other"): 1,
        TenantCount("processed", "acme", charge): 2,
        TenantCount("processed", "other", charge): 1,
        TenantCount("dead", "globex", charge): 1,
        TenantCount("processed", "acme", store): 2,
        TenantCount("processed", "globex", store): 1,
        TenantCount("processed", "other", store): 1,
    }


def test_without_the_setting_nothing_is_counted_and_no_middleware_runs() -> None:
    assert counted("") == {}
    assert bus_of("").service.middleware == ()


def test_a_scrape_has_a_series_for_each(scrape: Scrape) -> None:
    bus = bus_of("acme")
    with in_memory(bus) as memory:
        bus.emit_many([{"type": "order.placed", "tenant": tenant} for tenant in TENANTS])
        memory.run_until_idle()
        found = scrape(memory.store.backend)
    emitted = {s.labels["tenant"]: s.value for s in found["celeriac_tenant_emitted"]}
    assert emitted == {"acme": 2, "other": 2}
    [dead] = found["celeriac_tenant_dead"]
    labels = {"service": "billing", "handler": "billing.charge", "tenant": "other"}
    assert (dead.labels, dead.value) == (labels, 1)
    processed = {
        (s.labels["handler"], s.labels["tenant"]): s.value
        for s in found["celeriac_tenant_processed"]
    }
    assert processed["billing.charge", "acme"] == 2


@pytest.mark.parametrize(
    ("tenants", "reason"),
    [
        ("a b", "spaces"),
        ("acme,other", "is the label of all tenants"),
        (",".join(f"t{n}" for n in range(MAX_METRICS_TENANTS + 1)), "at most 100 names"),
    ],
)
def test_wrong_names_are_refused(tenants: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"CELERIAC_METRICS_TENANTS=.*{reason}"):
        bus_of(tenants)
