"""Flower's `/metrics` with the metrics of the bus, read in a thread."""

from __future__ import annotations

from typing import Any

import prometheus_client
from flower.views import BaseHandler

from celeriac.flower.threads import in_thread
from celeriac.observability.metrics import collector
from celeriac.process.metrics import reader
from celeriac.worker.app_services import services_of


class Metrics(BaseHandler):  # type: ignore[misc]
    """Like Flower's own page, without authentication, but served from a thread."""

    application: Any

    async def get(self) -> None:
        self.application.purge_offline_worker_metrics()
        text = await in_thread(prometheus_client.generate_latest)
        self.set_header("Content-Type", "text/plain")
        self.write(text)


def add_metrics(app: Any) -> None:
    """Return the metrics of this process and of the app's bus."""
    for service in services_of(app)[:1]:
        bus = collector(service.backend, read_instances=reader(service.settings))
        prometheus_client.REGISTRY.register(bus)
