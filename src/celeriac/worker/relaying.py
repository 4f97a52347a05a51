"""Run the relay within `celery worker`, in a thread next to the dispatcher's."""

from __future__ import annotations

import logging
import threading
from typing import Any

from celery import Celery, bootsteps

from celeriac.outbox.database import open_database
from celeriac.outbox.relay import Relay
from celeriac.service import Service
from celeriac.store.redis.connection import address
from celeriac.worker.add_step import add_step
from celeriac.worker.fork_gate import fork_gate

logger = logging.getLogger(__name__)


def install_relay(app: Celery, service: Service) -> None:
    """Make every worker of the app relay the outbox of `outbox_url`."""
    add_step(app, "worker", RelayStep, service, "relay", service=service)


class RelayStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """Starts after the pool. One worker relays at a time; the others are on standby."""

    requires = ("celery.worker.components:Pool",)
    service: Service

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._relay: Relay | None = None
        self._thread: threading.Thread | None = None

    def start(self, parent: Any) -> None:
        settings = self.service.settings
        self._relay = Relay(open_database(settings.outbox_url), settings, gate=fork_gate())
        self._thread = threading.Thread(target=self._relay.run, name="celeriac-relay", daemon=True)
        self._thread.start()
        logger.info("celeriac: relaying the outbox of %s", address(settings.outbox_url))

    def stop(self, parent: Any) -> None:
        if self._relay is None or self._thread is None:
            return
        self._relay.stop()
        self._thread.join(timeout=5)
        self._relay = self._thread = None

    def terminate(self, parent: Any) -> None:
        self.stop(parent)
