"""The metrics of a gateway as text for Prometheus. Needs `celeriac[prometheus]`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from celeriac.gateway.metrics import GATEWAY_METRICS, GatewayMetrics
from celeriac.observability.metrics.family import add_histogram, family_of

CONTENT_TYPE = CONTENT_TYPE_LATEST


def exposition(metrics: GatewayMetrics) -> bytes:
    """Return the metrics in the text format."""
    registry = CollectorRegistry()
    registry.register(_GatewayCollector(metrics))
    return generate_latest(registry)


class _GatewayCollector(Collector):
    def __init__(self, metrics: GatewayMetrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        metrics = self._metrics
        made: dict[str, Any] = {
            name: family_of(name, definition) for name, definition in GATEWAY_METRICS.items()
        }
        counters: tuple[tuple[str, Mapping[Any, int]], ...] = (
            ("accepted", metrics.accepted),
            ("refused", metrics.refused),
            ("running", metrics.running()),
        )
        for name, counts in counters:
            for labels, count in sorted(counts.items()):
                made[f"celeriac_gateway_{name}"].add_metric([*labels], count)
        for route, histogram in sorted(metrics.seconds.items()):
            add_histogram(made["celeriac_gateway_request_seconds"], [route], histogram)
        yield from made.values()
