"""The queues of handlers, as the app declares them."""

from __future__ import annotations

from typing import Any

from celery import Celery


def declared(app: Celery, queue: str) -> Any:
    """The queue as the app defines it, else as Celery makes one that the app does not name, also
    where `task_create_missing_queues` is off: the app does not know the handlers' queues."""
    queues = app.amqp.queues
    known = queue in queues or queue in queues.aliases
    return queues[queue] if known else queues.add(queues.new_missing(queue))
