"""What the worker's main process does when a pool process is gone in the middle of a hint.

`Task.Request` is Celery's documented seam for it. Without this all would be healed as well, but
only when the lease is over.
"""

from __future__ import annotations

import logging
from typing import Any

from billiard.exceptions import TimeLimitExceeded, WorkerLostError
from celery.worker.request import Request

log = logging.getLogger(__name__)


class HintRequest(Request):  # type: ignore[misc]
    """A hint under way, seen from the main process."""

    def on_failure(self, exc_info: Any, *args: Any, **kwargs: Any) -> Any:
        error = getattr(exc_info.exception, "exc", exc_info.exception)
        if isinstance(error, (WorkerLostError, SystemExit)):
            self._settle(error)
        return super().on_failure(exc_info, *args, **kwargs)

    def on_timeout(self, soft: bool, timeout: float) -> Any:
        if not soft:
            self._settle(TimeLimitExceeded(timeout))
        return super().on_timeout(soft, timeout)

    def _settle(self, error: BaseException) -> None:
        abandon = getattr(self.task, "abandon", None)
        if abandon is None:
            return
        try:
            abandon(self.kwargs["domain"], [tuple(pair) for pair in self.kwargs["events"]], error)
        except Exception:
            log.exception("%s: the lease will heal what %s left behind", self.name, error)
