"""Metrics for Prometheus, read from the delivery store: equal in every process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.extra import needing
from celeriac.observability.metrics.snapshot import ReadInstances, no_instances
from celeriac.store.factory import Backend

if TYPE_CHECKING:
    from celeriac.observability.metrics.scrape import BusCollector


def collector(
    backend: Backend, *, patience: float = 5.0, read_instances: ReadInstances = no_instances
) -> BusCollector:
    """Return a collector for a registry of prometheus_client.

    Register it: `REGISTRY.register(collector(bus.service.backend))`. It connects at the first
    scrape.

    Args:
        patience: Seconds for which a scrape blocks at most.
        read_instances: Reads the instances of processes, as `celeriac.process.metrics.reader` does.

    Raises:
        ConfigurationError: prometheus_client is not installed.
    """
    with needing("prometheus", "CELERIAC_METRICS_PORT or a collector of metrics"):
        from celeriac.observability.metrics.scrape import BusCollector
    return BusCollector(backend, patience=patience, read_instances=read_instances)


__all__ = ["collector"]
