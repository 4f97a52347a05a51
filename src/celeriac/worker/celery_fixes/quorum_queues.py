"""Make Celery 5.5 declare quorum queues for undeclared queue names.

Celery 5.6 has the setting `task_create_missing_queue_type`. Celery 5.5 ignores it and declares
classic queues, which are lost with their node. Remove this with support for Celery 5.5.
"""

from __future__ import annotations

from typing import Any

from celery import Celery
from celery.app.amqp import Queues

QUORUM = {"x-queue-type": "quorum"}


class QuorumQueues(Queues):  # type: ignore[misc,unused-ignore]
    """Celery's queues, except that undeclared ones are quorum queues."""

    def new_missing(self, name: str) -> Any:
        queue: Any = super().new_missing(name)
        queue.queue_arguments = {**(queue.queue_arguments or {}), **QUORUM}
        return queue


def use_quorum_queues(app: Celery) -> None:
    """Make the app declare missing queues as quorum queues, with any version of Celery."""
    app.amqp.queues_cls = QuorumQueues
