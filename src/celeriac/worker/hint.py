"""Sending hints: a chunk becomes one Celery task on the queue of its handler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery import Celery
from kombu.exceptions import OperationalError

from celeriac.connection import address
from celeriac.dispatcher import Chunk
from celeriac.dispatcher.traced import traced
from celeriac.errors import BusUnavailable
from celeriac.subscription import Service
from celeriac.worker.local import LocalWay


def hint_sender(
    app: Celery, service: Service, *, watched: Callable[[], bool], local: LocalWay | None = None
) -> Callable[[Chunk], None]:
    """A function that sends one chunk's hint; it raises BusUnavailable if the broker is away.

    `watched` tells whether monitors are listening, so that executors send them what happens
    within a chunk. `local` is the way to the worker's own pool, where it has one.
    """

    # Without a priority all hints of a queue share one list, whose length tools can read.
    uses_priorities = any(handler.priority for handler in service.handlers.values())

    def send(chunk: Chunk) -> None:
        first = chunk.items[0].event
        single = len(chunk.items) == 1
        kwargs: dict[str, Any] = {"domain": chunk.lane.domain, "events": chunk.hinted}
        if watched():
            kwargs["watched"] = True
        task, queue = app.tasks[chunk.handler.id], chunk.handler.queue
        options = {
            "kwargs": kwargs,
            "kwargsrepr": repr(chunk.describe()),
            "argsrepr": "()",
            "parent_id": first.id if single else None,
            "root_id": (first.correlationid or first.id) if single else None,
        }
        if local is not None and local.offer(app, task, queue, options):
            return
        priority = _priority(app, chunk.handler.priority) if uses_priorities else None
        try:
            task.apply_async(**options, queue=queue, priority=priority, retry=False)
        except (OperationalError, OSError) as error:
            raise BusUnavailable(
                f"the broker at {address(app.conf.broker_write_url or app.conf.broker_url)} does "
                f"not take hints ({error}); CELERIAC_BROKER_URL names it"
            ) from error

    return traced(send, service.settings)


def _priority(app: Celery, urgency: int) -> int:
    """Celery's number for it: in Redis 0 is the most urgent, in RabbitMQ the least."""
    redis = str(app.conf.broker_url).startswith(("redis", "sentinel"))
    return 9 - urgency if redis else urgency
