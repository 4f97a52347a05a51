"""Metrics on a port of the worker, where CELERIAC_METRICS_PORT names one.

They are the same from every worker of a bus, so one worker of a host serves them: whichever has the
port. The others try again every few seconds, and one of them has it when that one ends.
"""

from __future__ import annotations

import errno
import logging
import threading
from typing import Any

from celeriac.errors import ConfigurationError
from celeriac.observability.metrics import collector
from celeriac.settings import Settings
from celeriac.store.factory import Backend

logger = logging.getLogger(__name__)

TRY_EVERY = 5.0  # seconds


class MetricsServer:
    """`start` returns at once; threads of its own listen and answer. `stop` frees the port."""

    def __init__(self, backend: Backend, address: str, port: int) -> None:
        self.address, self.port = address, port
        self._backend = backend
        self._stopped = threading.Event()
        self._server: Any = None

    def start(self) -> None:
        """Raises ConfigurationError where prometheus_client is not installed."""
        bus = collector(self._backend)
        from prometheus_client import CollectorRegistry

        registry = CollectorRegistry()
        registry.register(bus)
        threading.Thread(
            target=self._serve, args=(registry,), name="celeriac-metrics-server", daemon=True
        ).start()

    def _serve(self, registry: Any) -> None:
        from prometheus_client import start_http_server

        told = False
        while not self._stopped.is_set():
            try:
                server, _ = start_http_server(self.port, self.address, registry)
            except OSError as error:
                if not told:
                    _tell(self.address, self.port, error)
                    told = True
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
        """Idempotent."""
        self._stopped.set()


def _tell(address: str, port: int, error: OSError) -> None:
    if error.errno == errno.EADDRINUSE:
        logger.info(
            "celeriac: %s:%d is taken, by another worker of this host if all is well; this one "
            "serves the metrics when it is free",
            address,
            port,
        )
    else:
        logger.error(
            "celeriac: no metrics at %s:%d: %s. CELERIAC_METRICS_ADDRESS and CELERIAC_METRICS_PORT "
            "name an address of this host and a port that this user may open",
            address,
            port,
            error,
        )


def metrics_server(settings: Settings, backend: Backend) -> MetricsServer | None:
    """The started server; None where the settings ask for none, or it cannot be had."""
    if not settings.metrics_port:
        return None
    server = MetricsServer(backend, settings.metrics_address, settings.metrics_port)
    try:
        server.start()
    except ConfigurationError as error:
        logger.error("celeriac: CELERIAC_METRICS_PORT is set, and there are no metrics: %s", error)
        return None
    return server
