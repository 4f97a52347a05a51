"""Keeping leases alive while handlers run: so a lease can be short, and a handler run for hours."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import redis

from celeriac.ledger import Lane
from celeriac.subscription import Service

log = logging.getLogger(__name__)


class LeaseKeeper:
    """One daemon thread for each process that executes. Started by the first claim in it, because
    a thread does not survive the fork of a pool process."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._held: dict[int, tuple[Lane, dict[str, int]]] = {}
        self._pid = 0
        self._lock = threading.Lock()

    @contextmanager
    def keeping(self, lane: Lane, held: dict[str, int]) -> Iterator[None]:
        """Renews the leases of entry → attempt every third of a lease.

        The caller removes from `held` what it has finished.
        """
        self._ensure_thread()
        key = id(held)
        with self._lock:
            self._held[key] = (lane, held)
        try:
            yield
        finally:
            with self._lock:
                del self._held[key]

    def _ensure_thread(self) -> None:
        if self._pid == os.getpid():
            return
        self._lock = threading.Lock()
        self._held = {}
        self._pid = os.getpid()
        threading.Thread(target=self._run, name="celeriac-leases", daemon=True).start()

    def _run(self) -> None:
        period = self._service.settings.lease / 3
        while True:
            time.sleep(period)
            with self._lock:
                held = [(lane, list(entries.items())) for lane, entries in self._held.values()]
            for lane, entries in held:
                if entries:
                    self._renew(lane, entries)

    def _renew(self, lane: Lane, entries: list[tuple[str, int]]) -> None:
        try:
            lost = self._service.backend.ledger.renew(self._service.worker, lane, entries)
        except redis.RedisError as error:
            log.warning("%s: leases were not renewed: %s", lane.handler, error)
            return
        # What was finished meanwhile is no longer held, and that is no loss.
        with self._lock:
            still = {e for _, h in self._held.values() for e in h}
        lost = [entry for entry in lost if entry in still]
        if lost:
            log.warning(
                "%s: lost the lease of %s while running; another worker runs it as well",
                lane.handler,
                ", ".join(lost),
            )
