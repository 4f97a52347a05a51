"""The collector: reads the delivery store at most once a second, in its own thread."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator, Sequence

from prometheus_client import Metric
from prometheus_client.registry import Collector

from celeriac.observability.metrics.bound import Bounds
from celeriac.observability.metrics.family import families, family
from celeriac.observability.metrics.snapshot import ReadInstances, no_instances, take_snapshot
from celeriac.store.factory import Backend

logger = logging.getLogger(__name__)

FRESH = 1.0  # seconds; a scrape within this time returns the last reading


class BusCollector(Collector):
    """A thread-safe collector. A scrape blocks for at most `patience` seconds.

    If Redis does not respond within this time, the scrape returns only `celeriac_up 0`, and the
    reading continues for the next scrape. So a scrape never blocks an event loop for longer.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        patience: float,
        read_instances: ReadInstances = no_instances,
    ) -> None:
        self._backend = backend
        self._read_instances = read_instances
        self._patience = patience
        self._bounds = Bounds()
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._lock = threading.Lock()
        self._reading: threading.Event | None = None
        self._read_at = float("-inf")
        self._metrics: Sequence[Metric] | None = None
        self._process = os.getpid()

    def describe(self) -> Iterator[Metric]:
        """Return nothing, so that registering does not read."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        if self._process != os.getpid():
            self._begin_anew()  # a fork does not have the parent's thread
        metrics = self._fresh()
        up = family("celeriac_up")
        up.add_metric([], int(metrics is not None))
        yield up
        yield from metrics or ()

    def _fresh(self) -> Sequence[Metric] | None:
        with self._lock:
            if time.monotonic() - self._read_at < FRESH:
                return self._metrics
            if self._reading is None:
                self._reading = threading.Event()
                threading.Thread(
                    target=self._read, args=(self._reading,), name="celeriac-metrics", daemon=True
                ).start()
            reading = self._reading
        return self._metrics if reading.wait(self._patience) else None

    def _read(self, done: threading.Event) -> None:
        metrics: Sequence[Metric] | None = None
        try:
            metrics = families(take_snapshot(self._backend, self._read_instances), self._bounds)
        except Exception as error:
            logger.warning("celeriac: reading metrics failed: %s: %s", type(error).__name__, error)
        with self._lock:
            self._metrics, self._reading = metrics, None
            self._read_at = time.monotonic()
        done.set()
