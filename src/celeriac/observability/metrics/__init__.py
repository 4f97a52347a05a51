"""Metrics for Prometheus, read from the delivery store: equal in every process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.extra import needing
from celeriac.store.factory import Backend

if TYPE_CHECKING:
    from celeriac.observability.metrics.scrape import BusCollector


def collector(backend: Backend, *, patience: float = 5.0) -> BusCollector:
    """Return a collector for prometheus_client: `REGISTRY.register(collector(backend))`.

    Connects at the first scrape. A scrape blocks for at most `patience` seconds; see BusCollector.
    Raises ConfigurationError if prometheus_client is not installed.
    """
    with needing("prometheus", "CELERIAC_METRICS_PORT or a collector of metrics"):
        from celeriac.observability.metrics.scrape import BusCollector
    return BusCollector(backend, patience=patience)


__all__ = ["collector"]
