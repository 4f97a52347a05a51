"""The queues of handlers, as the app declares them."""

from __future__ import annotations

from typing import Any

from celery import Celery


def declared(app: Celery, queue: str) -> Any:
    """Return the queue as the app defines it; otherwise one that Celery creates for its name.

    This also works if `task_create_missing_queues` is off: the app does not have the handlers'
    queues.
    """
    queues = app.amqp.queues
    known = queue in queues or queue in queues.aliases
    return queues[queue] if known else queues.add(queues.new_missing(queue))
