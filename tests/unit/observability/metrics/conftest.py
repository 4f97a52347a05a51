"""A bus in memory that did a little of everything, and its metrics as Prometheus reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from celeriac import Event, EventBus, Reject
from celeriac.observability.metrics import collector
from celeriac.observability.metrics.snapshot import InstanceCount
from celeriac.store.factory import Backend
from celeriac.testing import in_memory
from celeriac.testing.memory import MemoryBus

INSTANCES = (
    InstanceCount("shop.fulfilment", "open", 2, 60.0),
    InstanceCount("shop.fulfilment", "aborted", 1, 90.0),
)

Scrape = Callable[[Backend], dict[str, list[Sample]]]


@pytest.fixture
def scrape() -> Scrape:
    """Samples by the name of their family, as a Prometheus server parses them."""

    def scrape(backend: Backend) -> dict[str, list[Sample]]:
        registry = CollectorRegistry()
        registry.register(collector(backend, read_instances=lambda: INSTANCES))
        text = generate_latest(registry).decode()
        return {one.name: one.samples for one in text_string_to_metric_families(text)}

    return scrape


@pytest.fixture
def shop() -> Iterator[MemoryBus]:
    """Six orders for billing: four are charged, one at the second attempt; one is dead, one is
    unwanted. Shipping has a batch of what is charged."""
    billing, shipping = EventBus(service="billing"), EventBus(service="shipping")
    failed: set[str] = set()

    @billing.on("order.placed", when=lambda event: event.data["n"] != 5, backoff=1.0)
    def charge(event: Event) -> None:
        if event.data["n"] == 4:
            raise Reject("no card")
        if event.data["n"] == 3 and event.id not in failed:
            failed.add(event.id)
            raise ConnectionError("away")
        billing.emit("payment.captured", {"n": event.data["n"]})

    @shipping.on("payment.#", batch=10)
    def send(events: list[Event]) -> None:
        pass

    with in_memory(billing, shipping) as memory:
        for n in range(6):
            billing.emit("order.placed", {"n": n})
        memory.run_until_idle()
        yield memory
