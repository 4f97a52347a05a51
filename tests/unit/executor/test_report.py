"""The results of a task, as Celery and the log show them."""

from __future__ import annotations

import pytest

from celeriac.delivery import Outcome
from celeriac.executor import Report
from celeriac.executor.report import FailedAttempt

NOTHING = "nothing to do: completed, scheduled or running elsewhere"


def failed(outcome: Outcome) -> FailedAttempt:
    return FailedAttempt("a", "order.placed", 1, outcome, ValueError(), "")


@pytest.mark.parametrize(
    ("report", "text"),
    [
        (Report(), NOTHING),
        (Report(pairs=3), NOTHING),
        (Report(processed=1), "1 processed"),
        (Report(skipped=2), "2 skipped"),
        (Report(failures=[failed(Outcome.RETRY)]), "1 retried"),
        (Report(failures=[failed(Outcome.DEAD)]), "1 dead"),
        (Report(lost=["1-0", "2-0"]), "2 lease lost"),
        (
            Report(4, 1, 1, [failed(Outcome.RETRY), failed(Outcome.DEAD)] * 2, ["1-0"]),
            "1 processed, 1 skipped, 2 retried, 2 dead, 1 lease lost",
        ),
    ],
)
def test_a_report_names_what_happened(report: Report, text: str) -> None:
    assert str(report) == text


@pytest.mark.parametrize(
    ("pairs", "failures", "is_sole"), [(1, 1, True), (1, 0, False), (2, 1, False), (0, 1, False)]
)
def test_a_task_fails_with_the_failure_of_its_only_event(
    pairs: int, failures: int, is_sole: bool
) -> None:
    failure = failed(Outcome.DEAD)
    report = Report(pairs, failures=[failure] * failures)
    assert report.sole_failure is (failure if is_sole else None)
