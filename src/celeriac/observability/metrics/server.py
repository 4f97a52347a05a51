"""Serve metrics on a port of the worker, if CELERIAC_METRICS_PORT is set.

All workers of a bus have the same metrics, so one worker per host serves them: the one that has the
port. The others retry every few seconds and take over when it ends.
"""

from __future__ import annotations

import errno
import logging
import threading
from typing import Any

from celeriac.errors import ConfigurationError
from celeriac.observability.metrics import collector
from celeriac.observability.metrics.snapshot import ReadInstances, no_instances
from celeriac.settings import Settings
from celeriac.store.factory import Backend

logger = logging.getLogger(__name__)

TRY_EVERY = 5.0  # seconds


class MetricsServer:
    """A server with its own threads. `start` returns at once; `stop` closes the port."""

    def __init__(
        self,
        backend: Backend,
        address: str,
        port: int,
        read_instances: ReadInstances = no_instances,
    ) -> None:
        self.address, self.port = address, port
        self._backend = backend
        self._read_instances = read_instances
        self._stopped = threading.Event()
        self._server: Any = None

    def start(self) -> None:
        """Start the threads. Raises ConfigurationError if prometheus_client is not installed."""
        bus = collector(self._backend, read_instances=self._read_instances)
        from prometheus_client import CollectorRegistry

        registry = CollectorRegistry()
        registry.register(bus)
        threading.Thread(
            target=self._serve, args=(registry,), name="celeriac-metrics-server", daemon=True
        ).start()

    def _serve(self, registry: Any) -> None:
        from prometheus_client import start_http_server

        reported = False
        while not self._stopped.is_set():
            try:
                server, _ = start_http_server(self.port, self.address, registry)
            except OSError as error:
                if not reported:
                    _report(self.address, self.port, error)
                    reported = True
                self._stopped.wait(TRY_EVERY)
                continue
            self._server = server
            logger.info(
                "celeriac: metrics at http://%s:%d/metrics", self.address, server.server_port
            )
            self._stopped.wait()
            server.shutdown()
            server.server_close()

    def stop(self) -> None:
        """Close the port. Idempotent."""
        self._stopped.set()


def _report(address: str, port: int, error: OSError) -> None:
    if error.errno == errno.EADDRINUSE:
        logger.info(
            "celeriac: port of metrics is in use: %s:%d. Usually another worker of this host "
            "serves the metrics; this worker takes over when the port is free",
            address,
            port,
        )
    else:
        logger.error(
            "celeriac: cannot serve metrics at %s:%d: %s. Set CELERIAC_METRICS_ADDRESS to an "
            "address "
            "of this host, and CELERIAC_METRICS_PORT to a port that this user may open",
            address,
            port,
            error,
        )


def metrics_server(
    settings: Settings, backend: Backend, read_instances: ReadInstances = no_instances
) -> MetricsServer | None:
    """Return the started server; None if it is not configured or cannot start."""
    if not settings.metrics_port:
        return None
    server = MetricsServer(backend, settings.metrics_address, settings.metrics_port, read_instances)
    try:
        server.start()
    except ConfigurationError as error:
        logger.error(
            "celeriac: CELERIAC_METRICS_PORT is set, but metrics are not available: %s", error
        )
        return None
    return server
