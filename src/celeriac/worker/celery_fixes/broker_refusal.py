"""Keep a worker running while its Redis broker refuses commands temporarily.

A workaround for Celery 5.5 to 5.7 with kombu 5.5 to 5.7: kombu treats each error reply of Redis
(MISCONF, NOREPLICAS, READONLY, BUSY, UNBLOCKED, OOM) as a channel error, and Celery then ends the
worker ("Unrecoverable error"). It can be removed when kombu adds temporary refusals to the
`connection_errors` of its Redis transport.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from celery import Celery, bootsteps
from redis.exceptions import ResponseError

from celeriac.store.redis.refusal import refusal_code, temporary_refusal

# Seconds before a refused consumer connects again. Celery treats five per second as critical.
PAUSE, MAX_PAUSE = 0.25, 2.0
FINISHED = 10.0  # seconds without a refusal after which the pause is reset


def survive_refusals(app: Celery) -> None:
    """Make each worker of the app connect again after a temporary refusal. Idempotent."""
    steps: Any = app.steps
    steps["consumer"].add(TemporaryRefusals)


class TemporaryRefusals(bootsteps.Step):  # type: ignore[misc]
    """Makes the consumer reconnect after refusals. Other error replies of Redis still end it."""

    name = "celeriac.refusals"

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._pause, self._refused_at = PAUSE, 0.0
        parent.connection_errors = (*parent.connection_errors, ResponseError)
        for name in ("on_connection_error_before_connected", "on_connection_error_after_connected"):
            setattr(parent, name, self._pausing(getattr(parent, name)))

    def include(self, parent: Any) -> bool:
        return True

    def _pausing(self, reconnect: Callable[[Exception], Any]) -> Callable[[Exception], Any]:
        def on_error(error: Exception) -> Any:
            if not isinstance(error, ResponseError):
                return reconnect(error)
            if not (temporary_refusal(error) or refusal_code(error) == "OOM"):
                raise error
            reconnect(error)
            now = time.monotonic()
            grows = now - self._refused_at < FINISHED
            self._pause = min(MAX_PAUSE, self._pause * 2) if grows else PAUSE
            self._refused_at = now
            time.sleep(self._pause)
            return None

        return on_error
