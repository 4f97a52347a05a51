"""Keeping leases alive while handlers run: so a lease can be short, and a handler run for hours."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

from celeriac.delivery import Group
from celeriac.fork import after_fork_in_child
from celeriac.service import Service

logger = logging.getLogger(__name__)

ANSWERED_WITHIN = 0.1  # seconds
# Seconds until a renewal that failed is tried again. Dispatchers leave expired leases alone for
# longer than that after an outage (`dispatcher.RENEWED_WITHIN`).
RETRY = 0.5


class LeaseKeeper:
    """One daemon thread for each process that executes, while it executes. Thread-safe.

    A fork leaves the child without the thread and without what the parent held; the first claim
    in the child begins anew.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self.begin_anew()
        _keepers.add(self)

    def begin_anew(self) -> None:
        """Forgets what was held, as the child of a fork must."""
        self._held: dict[int, tuple[Group, dict[str, int]]] = {}
        self._chunks: dict[int, tuple[Group, list[str]]] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @contextmanager
    def keeping(self, group: Group, held: dict[str, int]) -> Iterator[None]:
        """Renews the leases of entry → attempt every third of a lease.

        The caller removes from `held` what it has finished.
        """
        with self._kept(self._held, group, held):
            yield

    @contextmanager
    def keeping_chunks(self, group: Group, chunks: list[str]) -> Iterator[None]:
        """The same for open chunks; the caller keeps the list as it is in the store."""
        with self._kept(self._chunks, group, chunks):
            yield

    @contextmanager
    def _kept(self, of_kind: dict[int, Any], group: Group, held: Any) -> Iterator[None]:
        key = id(held)
        with self._lock:
            of_kind[key] = (group, held)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="celeriac-leases", daemon=True
                )
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                of_kind.pop(key, None)

    def _run(self) -> None:
        period = self._service.settings.lease / 3
        failing = False
        while True:
            time.sleep(min(period, RETRY) if failing else period)
            with self._lock:
                if not self._held and not self._chunks:
                    self._thread = None
                    return
                held = [(group, list(entries.items())) for group, entries in self._held.values()]
                chunks = [(group, list(some)) for group, some in self._chunks.values()]
            renewed = [self._renew(group, pairs, failing) for group, pairs in held if pairs]
            renewed += [self._renew_chunks(group, some, failing) for group, some in chunks if some]
            failing = not all(renewed)

    def _renew_chunks(self, group: Group, chunks: list[str], failing: bool) -> bool:
        """As `_renew`. Of a chunk that was lost the process hears when it reports."""
        try:
            self._service.backend.chunks.renew(self._service.worker, group, chunks)
        except Exception as error:
            level = logging.DEBUG if failing else logging.WARNING
            logger.log(level, "%s: chunks were not renewed: %s", group.handler, error)
            return False
        return True

    def _renew(self, group: Group, entries: list[tuple[str, int]], failing: bool) -> bool:
        """Returns False where it has to be tried again. `failing` keeps the log quiet then."""
        try:
            lost = self._service.backend.deliveries.renew(self._service.worker, group, entries)
        except Exception as error:
            # Whatever it is: without this thread every handler would lose its lease.
            level = logging.DEBUG if failing else logging.WARNING
            logger.log(level, "%s: leases were not renewed: %s", group.handler, error)
            return False
        # What was finished meanwhile is no longer held, and that is no loss. Its thread may still
        # be waiting for the answer: this one runs just while that one waits.
        if lost:
            time.sleep(ANSWERED_WITHIN)
        with self._lock:
            still = {entry for _, entries in self._held.values() for entry in list(entries)}
        lost = [entry for entry in lost if entry in still]
        if lost:
            logger.warning(
                "%s: lost the lease of %s while running; another worker runs it as well",
                group.handler,
                ", ".join(lost),
            )
        return True


_keepers: WeakSet[LeaseKeeper] = WeakSet()


def _after_in_child() -> None:
    for keeper in _keepers:
        keeper.begin_anew()


after_fork_in_child(_after_in_child)
