"""What becomes of a delivery whose attempt failed, and how it is logged."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from celeriac import Event, EventBus, Reject, Retry
from celeriac.delivery import REQUEUE_DELAY_MS, Claimed, ClaimResult, Outcome
from celeriac.errors import Exhausted
from celeriac.event import event_key
from celeriac.executor import failed_attempt
from celeriac.executor.failed_attempt import decide_failed, log_failed, why_exhausted
from celeriac.executor.report import FailedAttempt
from celeriac.handler import Decision
from tests.logged import records_of

POISON = "its worker died, or lost the lease, in {} of {} runs; dead-lettered as poison"


def claim(attempt: int, lost_runs: int = 0) -> Claimed:
    return Claimed("1-0", ClaimResult.RUN, attempt, None, lost_runs)


@pytest.mark.parametrize(
    ("error", "attempt", "lost_runs", "final", "decided"),
    [
        (ValueError(), 1, 0, True, Decision(Outcome.RETRY, 5000)),
        (ValueError(), 2, 0, True, Decision(Outcome.DEAD)),
        (ValueError(), 2, 1, True, Decision(Outcome.RETRY, 5000)),
        (ValueError(), 2, 0, False, Decision(Outcome.RETRY, REQUEUE_DELAY_MS)),
        (ValueError(), 1, 0, False, Decision(Outcome.RETRY, 5000)),
        (Reject("no"), 1, 0, True, Decision(Outcome.DEAD)),
        (Exhausted("used up"), 1, 0, True, Decision(Outcome.DEAD)),
        (Exhausted("used up"), 1, 0, False, Decision(Outcome.DEAD)),
    ],
)
def test_a_failure_is_retried_until_the_attempts_are_used_up(
    bus: EventBus, error: Exception, attempt: int, lost_runs: int, final: bool, decided: Decision
) -> None:
    @bus.on("order.placed", retries=1, backoff=5.0, jitter=0.0)
    def charge(event: Event[Any]) -> None: ...

    handler = bus.service.handlers["billing.charge"]
    assert decide_failed(handler, claim(attempt, lost_runs), error, final) == decided


@pytest.mark.parametrize(
    ("attempt", "lost_runs", "reason"),
    [
        (4, 0, "all 3 attempts are used up"),
        (4, 1, POISON.format(1, 3)),
        (11, 10, POISON.format(10, 10)),
    ],
)
def test_the_reason_counts_the_attempts_before_the_claim(
    attempt: int, lost_runs: int, reason: str
) -> None:
    assert why_exhausted(claim(attempt, lost_runs)) == reason


@pytest.mark.parametrize(
    ("error", "decision", "level", "outcome", "with_traceback"),
    [
        (
            ValueError("no"),
            Decision(Outcome.RETRY, 90_000),
            logging.WARNING,
            "retry in 90 s",
            False,
        ),
        (Retry("later"), Decision(Outcome.RETRY, 90_000), logging.INFO, "retry in 90 s", False),
        (ValueError("no"), Decision(Outcome.DEAD), logging.ERROR, "dead", True),
        (Retry("later"), Decision(Outcome.DEAD), logging.ERROR, "dead", True),
    ],
)
@pytest.mark.parametrize("correlation", [None, "chain"])
def test_a_failure_is_logged_once_and_finally_with_its_traceback(
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    decision: Decision,
    level: int,
    outcome: str,
    with_traceback: bool,
    correlation: str | None,
) -> None:
    caplog.set_level(logging.INFO)
    key = event_key("a", "shop")
    failed = FailedAttempt(key, "order.placed", 3, decision.outcome, error, "text", correlation)
    log_failed("billing.charge", failed, decision)
    [record] = records_of(caplog, failed_attempt)
    assert record.levelno == level
    assert record.getMessage().startswith(
        f"billing.charge failed on order.placed a in attempt 3 ({outcome}): {type(error).__name__}"
    )
    assert bool(record.exc_info) == with_traceback
    names = ("event_type", "event_id", "handler", "attempt", "correlation_id")
    assert [getattr(record, name) for name in names] == [
        "order.placed", "a", "billing.charge", 3, correlation or "a",
    ]  # fmt: skip
