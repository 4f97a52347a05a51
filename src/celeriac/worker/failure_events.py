"""Report a failure within a chunk to monitors such as Flower, as a separate failed task.

A chunk of many events is one task, which succeeds when each of its events is completed. A failed
event is therefore reported through Celery's task events as a task of that event alone, so each
failure appears as one failed task with its traceback.
"""

from __future__ import annotations

import logging
import time
from typing import Any
from uuid import uuid4

from celeriac.delivery import Outcome
from celeriac.executor import FailedAttempt, Report, describe
from celeriac.handler import Handler

logger = logging.getLogger(__name__)


def show_failures(task: Any, handler: Handler, report: Report) -> None:
    """Send the events of one failed task for each failure. Blocks for round trips to the broker.

    Raises nothing: the failures are already recorded.
    """
    try:
        with task.app.events.default_dispatcher(hostname=task.request.hostname) as dispatcher:
            for failure in report.failures:
                _show(dispatcher, handler, failure)
    except Exception as error:
        logger.warning("%s: failures were not reported to monitors: %s", handler.id, error)


def _show(dispatcher: Any, handler: Handler, failure: FailedAttempt) -> None:
    shown = {"event": failure.event_type, "id": failure.event_id, "attempt": failure.attempt}
    uuid = str(uuid4())
    dispatcher.send(
        "task-received",
        uuid=uuid,
        name=handler.id,
        args="()",
        kwargs=repr(shown),
        retries=failure.attempt - 1,
        eta=None,
        expires=None,
        parent_id=failure.event_id,
        root_id=failure.correlation or failure.event_id,
    )
    dispatcher.send("task-started", uuid=uuid)
    retried = failure.outcome is Outcome.RETRY
    dispatcher.send(
        "task-failed",
        uuid=uuid,
        exception=describe(failure.error),
        traceback=failure.traceback,
        retried=retried,
        timestamp=time.time(),
    )
