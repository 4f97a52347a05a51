"""Broadcast handlers within `celery worker`: one thread in the worker, or in each pool process."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Sequence
from typing import Any

from celery import Celery, bootsteps

from celeriac.broadcast import BroadcastListener
from celeriac.handler.broadcast import Scope
from celeriac.service import Service
from celeriac.store.redis.event_log import redis_event_log
from celeriac.worker.add_step import add_step
from celeriac.worker.fork_gate import fork_gate

logger = logging.getLogger(__name__)


def install_broadcasts(app: Celery, service: Service) -> None:
    """Make every worker of the app call the broadcast handlers of the service."""
    add_step(app, "worker", BroadcastStep, service, "broadcasts", service=service)


class BroadcastStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """Started once the pool is up, in the worker's main process."""

    requires = ("celery.worker.components:Pool",)
    service: Service

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._thread: ListenerThread | None = None

    def include_if(self, parent: Any) -> bool:
        return bool(self.service.broadcasts)

    def start(self, parent: Any) -> None:
        # Of a prefork pool, the processes start their own: see `start_in_pool_process`.
        is_prefork = type(parent.pool).__module__.endswith(".prefork")
        scopes: Sequence[Scope] = ("worker",) if is_prefork else ("worker", "process")
        self._thread = start_listener(self.service, scopes)

    def stop(self, parent: Any) -> None:
        if self._thread is not None:
            self._thread.stop()
            self._thread = None

    def terminate(self, parent: Any) -> None:
        self.stop(parent)


class ListenerThread:
    """A listener and its thread, which ends with the process."""

    def __init__(self, listener: BroadcastListener) -> None:
        self._listener = listener
        self._thread = threading.Thread(
            target=listener.run, name="celeriac-broadcasts", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """End it; wait for the handler that runs, for at most 5 seconds."""
        self._listener.stop()
        self._thread.join(timeout=5)


def start_listener(service: Service, scopes: Sequence[Scope]) -> ListenerThread | None:
    """Start calling the broadcast handlers of these scopes; None if there are none."""
    # Its own connections: the dispatcher waits on those of the service.
    backend = Service.override
    event_log = redis_event_log(service.settings) if backend is None else backend.event_log
    listener = BroadcastListener(service, scopes, event_log, gate=fork_gate())
    names = sorted(handler.id for handler in listener.handlers)
    if not names:
        return None
    logger.info("celeriac: process %d gets broadcasts for %s", os.getpid(), ", ".join(names))
    return ListenerThread(listener)


def start_in_pool_process(service: Service) -> None:
    """Start calling the handlers with `broadcast="process"` in a new pool process."""
    start_listener(service, ("process",))
