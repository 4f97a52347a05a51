"""Flower's `/metrics` with those of the bus, read beside its loop and not on it."""

from __future__ import annotations

from typing import Any

import prometheus_client
from flower.views import BaseHandler

from celeriac.flower.threads import in_thread
from celeriac.observability.metrics import collector
from celeriac.worker.installed import services_of


class Metrics(BaseHandler):  # type: ignore[misc]
    """As Flower's own, which is without authentication as well, but for the thread."""

    application: Any

    async def get(self) -> None:
        self.application.purge_offline_worker_metrics()
        text = await in_thread(prometheus_client.generate_latest)
        self.set_header("Content-Type", "text/plain")
        self.write(text)


def add_metrics(app: Any) -> None:
    """Puts the metrics of the app's bus to those that this process has."""
    for service in services_of(app)[:1]:
        prometheus_client.REGISTRY.register(collector(service.backend))
