"""Metrics for Prometheus, read from the ledger: the same wherever and whenever they are asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.extra import needing
from celeriac.store.factory import Backend

if TYPE_CHECKING:
    from celeriac.observability.metrics.scrape import BusCollector


def collector(backend: Backend, *, patience: float = 5.0) -> BusCollector:
    """A collector for a registry of prometheus_client: `REGISTRY.register(collector(backend))`.

    Connects at the first scrape. A scrape blocks for at most `patience` seconds; see BusCollector.
    Raises ConfigurationError where prometheus_client is not installed.
    """
    with needing("prometheus", "CELERIAC_METRICS_PORT or a collector of metrics"):
        from celeriac.observability.metrics.scrape import BusCollector
    return BusCollector(backend, patience=patience)


__all__ = ["collector"]
