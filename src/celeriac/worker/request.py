"""What the worker's main process does when a pool process is gone in the middle of a hint.

`Task.Request` is Celery's documented seam for it. Without this all would be healed as well, but
only when the lease is over.
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
from celeriac.worker.local import LocalMessage

logger = logging.getLogger(__name__)

_thread = threading.local()


def _is_news(record: logging.LogRecord) -> bool:
    """Whether Celery reports something that the executor did not log already."""
    return record.levelno < logging.ERROR or not getattr(_thread, "is_reported", False)


# Celery logs the failure of a task whose process ended; the executor has logged the attempt, with
# its event and handler.
logging.getLogger("celery.worker.request").addFilter(_is_news)


@contextmanager
def _reported(is_reported: bool) -> Iterator[None]:
    _thread.is_reported = is_reported
    try:
        yield
    finally:
        _thread.is_reported = False


class GuardedRequest(Request):  # type: ignore[misc]
    """A request whose message may be anything. Raises InvalidTaskError for one that is no task's.

    Celery (5.5 to 5.7) lets a body or header of an unexpected shape end the whole worker.
    """

    def __init__(self, message: Any, *args: Any, **options: Any) -> None:
        try:
            super().__init__(message, *args, **options)
        except (InvalidTaskError, KombuError):
            raise
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise InvalidTaskError(f"not a message of a task: {error!r}") from None


def guarded_strategy(task: Any, app: Any, consumer: Any, **options: Any) -> Callable[..., Any]:
    """Celery's strategy, given only what has the shape of a task's message."""
    follow: Callable[..., Any] = default(task, app, consumer, **options)

    def receive(message: Any, body: Any, *args: Any, **given: Any) -> Any:
        payload = message.payload if body is None else body
        # A list of JSON is a tuple in pickle.
        triple = isinstance(payload, (list, tuple)) and len(payload) == 3
        if not (triple or isinstance(payload, dict)):
            raise InvalidTaskError("not a message of a task: its body is no list of three")
        return follow(message, body, *args, **given)

    return receive


class DeliveryRequest(GuardedRequest):
    """A hint under way, seen from the main process.

    Raises InvalidTaskError, upon which Celery logs and drops the message, for what is no hint.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        # Celery makes a subclass for each task of a worker.
        super().__init_subclass__(**options)
        limit_as_task(cls)

    def __init__(self, message: Any, *args: Any, **options: Any) -> None:
        super().__init__(message, *args, **options)
        body = options.get("body") if options.get("decoded") else message.payload
        check_message(*(body or ((), None, None)), local=isinstance(message, LocalMessage))
        check_headers(self.request_dict)
        # The limits are the handler's, not the message's.
        self.time_limits = (None, None)
        self._failed_attempts = 0

    def on_failure(self, exc_info: Any, *args: Any, **kwargs: Any) -> Any:
        error = getattr(exc_info.exception, "exc", exc_info.exception)
        if isinstance(error, (WorkerLostError, SystemExit, TimeLimitExceeded)):
            self._settle(error)
        with _reported(self._failed_attempts > 0):
            return super().on_failure(exc_info, *args, **kwargs)

    def on_timeout(self, soft: bool, timeout: float) -> Any:
        if not soft:
            self._settle(TimeLimitExceeded(timeout))
        with _reported(self._failed_attempts > 0):
            return super().on_timeout(soft, timeout)

    def _settle(self, error: BaseException) -> None:
        abandon = getattr(self.task, "abandon", None)
        # Celery may report one end twice; what is running since is another attempt.
        if abandon is None or self._failed_attempts:
            return
        try:
            # Which process it was, Celery knows once that has said that it begins.
            self._failed_attempts = abandon(self.kwargs, error, self.worker_pid)
        except Exception:
            logger.exception("%s: the lease will heal what %s left behind", self.name, error)
