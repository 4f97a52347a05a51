"""Close Celery's own connections to a master that the Sentinels replaced, as soon as the bus does.

kombu queries the Sentinels when it connects. After a planned failover, connections to the old
master stay open until the Sentinels demote it, some twenty seconds later. If `CLIENT PAUSE` blocks
its writes, commands on these connections get no reply until then.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any, cast

from celery import Celery, bootsteps
from redis.exceptions import RedisError

from celeriac.redis_url import is_sentinel
from celeriac.service import Service
from celeriac.settings import Settings

CHECK_INTERVAL = 1.0  # seconds


def is_followed(settings: Settings) -> bool:
    """Return whether Celery's messages go to the master of the bus, which Sentinels name."""
    return is_sentinel(settings.redis_url) and settings.broker_url == settings.redis_url


class OldMaster:
    """Compares the server of a kombu channel with the master that the bus's client uses."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def leave(self, channel: Any, *, in_use: bool = False) -> None:
        """Close the channel's idle connections to another master, or all of them if `in_use`.

        kombu then connects to the current master. Blocks for a query to the Sentinels if the
        masters differ. Raises no error that Redis or a Sentinel causes.
        """
        event_log = cast("Any", self._service.backend.event_log)
        master = event_log.client.connection_pool.master_address
        for pool in (channel.pool, channel.async_pool):
            if master is None or pool.master_address in (None, master):
                continue
            with suppress(RedisError):
                # Closes idle connections.
                pool.get_master_address()
                if in_use and pool.master_address == master:
                    pool.disconnect()


def install_old_master(app: Celery, old_master: OldMaster) -> None:
    """Make each worker of the app close its connections to an old master."""
    steps: Any = app.steps
    steps["consumer"].add(
        type("OldMasters", (OldMasterStep,), {"old_master": old_master, "name": OldMasterStep.name})
    )


class OldMasterStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """Checks every second while the consumer is connected."""

    name = "celeriac.old-master"
    requires = ("celery.worker.consumer.tasks:Tasks",)
    old_master: OldMaster

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._timer: Any = None

    def start(self, parent: Any) -> None:
        self._timer = parent.timer.call_repeatedly(CHECK_INTERVAL, partial(self._look, parent))

    def stop(self, parent: Any) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self, parent: Any) -> None:
        for channel in _channels(parent):
            self.old_master.leave(channel, in_use=True)


def _channels(consumer: Any) -> Iterator[Any]:
    dispatcher = getattr(consumer, "event_dispatcher", None)
    for connection in (consumer.connection, getattr(dispatcher, "connection", None)):
        if connection is not None and connection.connected:
            yield from list(connection.transport.channels)
