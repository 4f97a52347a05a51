"""Report to the delivery store when a pool process ends during a delivery task.

Runs in the worker's main process, through Celery's public extension point `Task.Request`. Without
it, deliveries would recover only when their lease expires.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from billiard.exceptions import TimeLimitExceeded, WorkerLostError
from celery.exceptions import InvalidTaskError
from celery.worker.request import Request
from celery.worker.strategy import default
from kombu.exceptions import KombuError

from celeriac.worker.celery_fixes.time_limits import limit_as_task
from celeriac.worker.delivery_task import check_headers, check_message
from celeriac.worker.direct_delivery import DirectMessage

logger = logging.getLogger(__name__)

_thread = threading.local()


def _is_news(record: logging.LogRecord) -> bool:
    """Return whether Celery reports something that the executor did not log already."""
    return record.levelno < logging.ERROR or not getattr(_thread, "is_reported", False)


# Celery logs the failure of a task whose process ended; the executor already logged the attempt
# with its event and handler.
logging.getLogger("celery.worker.request").addFilter(_is_news)


@contextmanager
def _reported(is_reported: bool) -> Iterator[None]:
    _thread.is_reported = is_reported
    try:
        yield
    finally:
        _thread.is_reported = False


class GuardedRequest(Request):  # type: ignore[misc]
    """A request for a message of any shape. Raises InvalidTaskError if it is not a task message.

    In Celery 5.5 to 5.7, a body or header of an unexpected shape ends the whole worker.
    """

    def __init__(self, message: Any, *args: Any, **options: Any) -> None:
        try:
            super().__init__(message, *args, **options)
        except (InvalidTaskError, KombuError):
            raise
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise InvalidTaskError(f"not a message of a task: {error!r}") from None


def guarded_strategy(task: Any, app: Any, consumer: Any, **options: Any) -> Callable[..., Any]:
    """Return Celery's strategy with a check that the message has the shape of a task message."""
    follow: Callable[..., Any] = default(task, app, consumer, **options)

    def receive(message: Any, body: Any, *args: Any, **given: Any) -> Any:
        payload = message.payload if body is None else body
        # A JSON list becomes a tuple in pickle.
        triple = isinstance(payload, (list, tuple)) and len(payload) == 3
        if not (triple or isinstance(payload, dict)):
            raise InvalidTaskError("not a message of a task: its body is not a list of three")
        return follow(message, body, *args, **given)

    return receive


class DeliveryRequest(GuardedRequest):
    """A running delivery task in the main process.

    Raises InvalidTaskError for a message that is not a delivery task: Celery logs and drops it.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        # Celery creates a subclass for each task of a worker.
        super().__init_subclass__(**options)
        limit_as_task(cls)

    def __init__(self, message: Any, *args: Any, **options: Any) -> None:
        super().__init__(message, *args, **options)
        body = options.get("body") if options.get("decoded") else message.payload
        check_message(*(body or ((), None, None)), is_direct=isinstance(message, DirectMessage))
        check_headers(self.request_dict)
        # The limits are the handler's, not the message's.
        self.time_limits = (None, None)
        self._failed_attempts = 0

    def on_failure(self, exc_info: Any, *args: Any, **kwargs: Any) -> Any:
        error = getattr(exc_info.exception, "exc", exc_info.exception)
        if isinstance(error, (WorkerLostError, SystemExit, TimeLimitExceeded)):
            self._abandon(error)
        with _reported(self._failed_attempts > 0):
            return super().on_failure(exc_info, *args, **kwargs)

    def on_timeout(self, soft: bool, timeout: float) -> Any:
        if not soft:
            self._abandon(TimeLimitExceeded(timeout))
        with _reported(self._failed_attempts > 0):
            return super().on_timeout(soft, timeout)

    def _abandon(self, error: BaseException) -> None:
        abandon = getattr(self.task, "abandon", None)
        # Celery may report one end twice; by then another attempt may be running.
        if abandon is None or self._failed_attempts:
            return
        try:
            # Celery sets worker_pid when the process reports that the task started.
            self._failed_attempts = abandon(self.kwargs, error, self.worker_pid)
        except Exception:
            logger.exception(
                "%s: could not report the lost attempt (%s); lease expiry recovers its deliveries",
                self.name,
                error,
            )
