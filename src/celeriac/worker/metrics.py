"""Serve metrics within `celery worker`."""

from __future__ import annotations

from typing import Any

from celery import Celery, bootsteps

from celeriac.observability.metrics.server import MetricsServer, metrics_server
from celeriac.process.metrics import reader
from celeriac.service import Service
from celeriac.worker.add_step import add_step


def install_metrics(app: Celery, service: Service) -> None:
    """Make every worker of the app serve the metrics of the bus on `metrics_port`."""
    add_step(app, "worker", MetricsStep, service, "metrics", service=service)


class MetricsStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """Starts after the pool has forked: the connections belong to this process only."""

    requires = ("celery.worker.components:Pool",)
    service: Service

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._server: MetricsServer | None = None

    def start(self, parent: Any) -> None:
        settings = self.service.settings
        self._server = metrics_server(settings, self.service.backend, reader(settings))

    def stop(self, parent: Any) -> None:
        if self._server is not None:
            self._server.stop()
            self._server = None

    def terminate(self, parent: Any) -> None:
        self.stop(parent)
