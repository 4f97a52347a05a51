"""Run the hooks of middleware around one attempt of a handler."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from celeriac.executor.call import run_awaitable
from celeriac.middleware import Attempt, Middleware

logger = logging.getLogger(__name__)


def run_attempt(
    middleware: Sequence[Middleware],
    attempt: Attempt,
    call: Callable[[], None],
    fail: Callable[[BaseException], BaseException],
) -> BaseException | None:
    """Call the handler with the hooks around it; return the failure of the attempt, if any.

    `fail` sets `attempt.error` and `attempt.outcome` for an exception of the handler or of a hook
    and returns the failure, or raises the exception again. Blocks until all hooks have ended.
    """
    failure: BaseException | None = None
    try:
        with ExitStack() as stack:
            entered: list[Middleware] = []
            try:
                for layer in middleware:
                    stack.enter_context(layer.around_attempt(attempt))
                    entered.append(layer)
                    run_awaitable(layer.before_attempt(attempt))
                call()
                for layer in reversed(entered):
                    run_awaitable(layer.after_attempt(attempt))
            except BaseException as error:
                failure = fail(error)
                for layer in reversed(entered):
                    _report_failure(layer, attempt)
    except BaseException as error:
        # A context manager of the middleware failed on exit.
        ending = fail(error)
        return failure or ending
    return failure


def _report_failure(middleware: Middleware, attempt: Attempt) -> None:
    try:
        run_awaitable(middleware.attempt_failed(attempt))
    except Exception:
        logger.exception(
            "%s.attempt_failed of the middleware failed after attempt %d of %s at %s %s",
            type(middleware).__name__,
            attempt.number,
            attempt.handler,
            attempt.event.type,
            attempt.event.id,
        )
