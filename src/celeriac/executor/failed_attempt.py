"""Decide what becomes of a delivery whose attempt failed, and log the failure."""

from __future__ import annotations

import logging

from celeriac.delivery import REQUEUE_DELAY_MS, Claimed, Outcome
from celeriac.errors import Exhausted, Retry
from celeriac.executor.error_text import describe
from celeriac.executor.report import FailedAttempt
from celeriac.handler import Decision, Handler, decide
from celeriac.time_text import duration

logger = logging.getLogger(__name__)


def decide_failed(handler: Handler, claim: Claimed, error: BaseException, final: bool) -> Decision:
    """Return what becomes of the delivery. If not `final`, it is retried, not dead-lettered."""
    if isinstance(error, Exhausted):
        return Decision(Outcome.DEAD)
    decision = decide(handler.failure, error, claim.counted)
    if decision.outcome is Outcome.DEAD and not final:
        return Decision(Outcome.RETRY, REQUEUE_DELAY_MS)
    return decision


def why_exhausted(claim: Claimed) -> str:
    """Return why the delivery may not run again."""
    if claim.lost_runs:
        return (
            f"its worker died, or lost the lease, in {claim.lost_runs} of {claim.attempt - 1} "
            "runs; dead-lettered as poison"
        )
    return f"all {claim.attempt - 1} attempts are used up"


def log_failed(handler: str, failed: FailedAttempt, decision: Decision) -> None:
    """Log the failure once, with its traceback if the delivery is not retried."""
    retried = decision.outcome is Outcome.RETRY
    level = logging.INFO if isinstance(failed.error, Retry) else logging.WARNING
    logger.log(
        level if retried else logging.ERROR,
        "%s failed on %s %s in attempt %d (%s): %s",
        handler,
        failed.event_type,
        failed.event_id,
        failed.attempt,
        f"retry in {duration(decision.delay_ms / 1000)}" if retried else "dead",
        describe(failed.error),
        exc_info=None if retried else failed.error,
        extra={
            "event_type": failed.event_type,
            "event_id": failed.event_id,
            "handler": handler,
            "attempt": failed.attempt,
            "correlation_id": failed.correlation or failed.event_id,
        },
    )
