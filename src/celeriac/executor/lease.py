"""Watch tasks while handlers run: renew their leases, and requeue what waits behind a slow event.

So leases can be short, and handlers can run for hours.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

from celeriac.delivery import Group
from celeriac.executor.run_limit import RunLimit
from celeriac.fork import after_fork_in_child
from celeriac.service import Service

logger = logging.getLogger(__name__)

ANSWERED_WITHIN = 0.1  # seconds
# Seconds until a failed renewal is retried. After an outage, dispatchers wait longer than this
# before they reclaim expired leases (`dispatcher.RENEWED_WITHIN`).
RETRY = 0.5
CHECK = 1.0  # seconds between checks for slow events


class LeaseKeeper:
    """One daemon thread per executing process, while it executes. Thread-safe.

    A fork leaves the child without the thread and without the parent's leases; the first claim in
    the child starts again.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self.reset()
        _keepers.add(self)

    def reset(self) -> None:
        """Forget all leases, as the child of a fork must."""
        self._deliveries: dict[int, tuple[Group, dict[str, int]]] = {}
        self._chunks: dict[int, tuple[Group, list[str]]] = {}
        self._limits: dict[int, tuple[Group, RunLimit]] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @contextmanager
    def keeping(self, group: Group, leases: dict[str, int]) -> Iterator[None]:
        """Renew the leases of entry → attempt every third of a lease.

        The caller removes completed entries from `leases`.
        """
        with self._kept(self._deliveries, group, leases):
            yield

    @contextmanager
    def keeping_chunks(self, group: Group, chunks: list[str]) -> Iterator[None]:
        """Renew the leases of open chunks; the caller keeps the list up to date."""
        with self._kept(self._chunks, group, chunks):
            yield

    @contextmanager
    def limiting(self, group: Group, limit: RunLimit) -> Iterator[None]:
        """Requeue what waits behind a slow event of a task, whose leases are kept."""
        if limit.count < 2:
            yield
            return
        try:
            with self._kept(self._limits, group, limit):
                yield
        finally:
            limit.close()

    @contextmanager
    def _kept(self, of_kind: dict[int, Any], group: Group, leases: Any) -> Iterator[None]:
        key = id(leases)
        # A time limit can interrupt each line. Without a renewal the delivery runs twice; with one
        # that never ends, no worker runs it.
        try:
            with self._lock:
                of_kind[key] = (group, leases)
                if self._thread is None:
                    thread = threading.Thread(target=self._run, name="celeriac-leases", daemon=True)
                    thread.start()
                    self._thread = thread
            yield
        finally:
            # One call, which no signal interrupts: to wait for the lock would be another.
            of_kind.pop(key, None)

    def _run(self) -> None:
        period = self._service.settings.lease / 3
        failing = False
        renew_at = time.monotonic() + period
        while True:
            time.sleep(max(0.0, min(CHECK, renew_at - time.monotonic())))
            with self._lock:
                limits = list(self._limits.values())
            for group, limit in limits:
                self._requeue_behind(group, limit)
            if time.monotonic() < renew_at:
                continue
            with self._lock:
                if not self._deliveries and not self._chunks:
                    self._thread = None
                    return
                deliveries = [
                    (group, list(d.items())) for group, d in list(self._deliveries.values())
                ]
                chunks = [(group, list(some)) for group, some in list(self._chunks.values())]
            renewed = [self._renew(group, pairs, failing) for group, pairs in deliveries if pairs]
            renewed += [self._renew_chunks(group, some, failing) for group, some in chunks if some]
            failing = not all(renewed)
            renew_at = time.monotonic() + (min(period, RETRY) if failing else period)

    def _requeue_behind(self, group: Group, limit: RunLimit) -> None:
        try:
            if limit.requeue_behind(time.monotonic()):
                logger.info("%s: requeued deliveries behind one that runs long", group.handler)
        except Exception as error:
            # The next check tries again, and then the process itself, when its event ends.
            logger.warning(
                "%s: deliveries behind one that runs long were not requeued: %s",
                group.handler,
                error,
            )

    def _renew_chunks(self, group: Group, chunks: list[str], failing: bool) -> bool:
        """Renew leases as `_renew`. The process detects a lost chunk when it reports."""
        try:
            self._service.backend.chunks.renew(self._service.worker, group, chunks)
        except Exception as error:
            level = logging.DEBUG if failing else logging.WARNING
            logger.log(level, "%s: chunks were not renewed: %s", group.handler, error)
            return False
        return True

    def _renew(self, group: Group, entries: list[tuple[str, int]], failing: bool) -> bool:
        """Return False if the renewal must be retried.

        With `failing`, errors are logged quietly.
        """
        try:
            lost = self._service.backend.deliveries.renew(self._service.worker, group, entries)
        except Exception as error:
            # Any error: if this thread ended, every handler would lose its lease.
            level = logging.DEBUG if failing else logging.WARNING
            logger.log(level, "%s: leases were not renewed: %s", group.handler, error)
            return False
        # Deliveries that were completed in the meantime are not lost. Their thread may still wait
        # for the reply to `complete`, which this waiting time covers.
        if lost:
            time.sleep(ANSWERED_WITHIN)
        with self._lock:
            kept = list(self._deliveries.values())
            still = {entry for _, leases in kept for entry in list(leases)}
        lost = [entry for entry in lost if entry in still]
        if lost:
            logger.warning(
                "%s: lost the lease of %s while running; another worker also runs it",
                group.handler,
                ", ".join(lost),
            )
        return True


_keepers: WeakSet[LeaseKeeper] = WeakSet()


def _after_in_child() -> None:
    for keeper in _keepers:
        keeper.reset()


after_fork_in_child(_after_in_child)
