"""When the completions of a task are reported, and what is known to be lost."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import pytest

from celeriac.delivery import Completion, Outcome
from celeriac.executor import Report, completion_reporter
from celeriac.executor.completion_reporter import CompletionReporter
from tests.logged import messages_of

INTERVAL = 0.25


class Reply:
    def __init__(self, log: list[str], lost: list[str]) -> None:
        self._log, self._lost = log, lost

    def result(self) -> list[str]:
        self._log.append("reply")
        return self._lost


class Reported:
    """A reporter of three leases at simulated times. `log` has the entries of each report, and
    when its reply was awaited."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.lost = 0.0, list[str]()
        self.log: list[str] = []
        self.report = Report()
        self.leases = {"1-0": 1, "2-0": 1, "3-0": 1}
        clock = SimpleNamespace(monotonic=lambda: self.now)
        monkeypatch.setattr(completion_reporter, "time", clock)
        monkeypatch.setattr(completion_reporter, "REPORT_INTERVAL", INTERVAL)
        self.reporter = CompletionReporter("billing.h", self.leases, self._send, self.report)

    def _send(self, completions: Sequence[Completion]) -> Reply:
        self.log.append("+".join(one.entry for one in completions))
        return Reply(self.log, self.lost)

    def add(self, entry: str, at: float) -> None:
        self.now = at
        self.reporter.add(Completion(entry, "k", 1, Outcome.PROCESSED))
        self.reporter.report_if_due()


@pytest.fixture
def reported(monkeypatch: pytest.MonkeyPatch) -> Reported:
    return Reported(monkeypatch)


def test_completions_are_reported_at_intervals_and_at_the_end(reported: Reported) -> None:
    reported.add("1-0", 0.125)
    assert (reported.log, len(reported.leases)) == ([], 3)
    reported.add("2-0", INTERVAL)
    assert (reported.log, reported.leases) == (["1-0+2-0"], {"3-0": 1})
    reported.add("3-0", INTERVAL * 2 - 0.125)
    assert reported.log == ["1-0+2-0"], "the interval began with the report"
    reported.reporter.flush()
    assert reported.log == ["1-0+2-0", "reply", "3-0", "reply"]
    assert (reported.leases, reported.report.lost) == ({}, [])
    reported.reporter.flush()
    assert len(reported.log) == 4, "nothing is left"


def test_the_reply_is_read_before_the_next_report(reported: Reported) -> None:
    reported.add("1-0", INTERVAL)
    reported.add("2-0", INTERVAL * 2)
    assert reported.log == ["1-0", "reply", "2-0"]


def test_without_completions_nothing_is_sent(reported: Reported) -> None:
    reported.now = 60.0
    reported.reporter.report_if_due()
    assert reported.log == []


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what the reporter logged; threads of earlier tests may log something else."""
    return messages_of(caplog, completion_reporter)


@pytest.mark.parametrize(
    ("lost", "text"), [([], ""), (["1-0", "9-0"], "billing.h: 2 deliveries were no longer owned")]
)
def test_deliveries_that_were_no_longer_owned_are_in_the_report(
    reported: Reported, caplog: pytest.LogCaptureFixture, lost: list[str], text: str
) -> None:
    reported.lost = lost
    reported.add("1-0", INTERVAL)
    reported.reporter.flush()
    assert reported.report.lost == lost
    assert text in caplog.text
    assert len(warnings(caplog)) == bool(lost)


@pytest.mark.parametrize(
    ("lost", "kept"), [([], ["1-0", "2-0", "3-0"]), (["2-0", "3-0", "9-0"], ["1-0"])]
)
def test_lost_leases_are_dropped(
    reported: Reported, caplog: pytest.LogCaptureFixture, lost: list[str], kept: list[str]
) -> None:
    reported.reporter.lose(lost)
    assert (list(reported.leases), reported.report.lost) == (kept, lost)
    assert len(warnings(caplog)) == bool(lost)
    if lost:
        assert "billing.h: the leases of 3 deliveries expired" in caplog.text


def test_drained_completions_are_not_reported(reported: Reported) -> None:
    reported.add("1-0", 0.0)
    assert [one.entry for one in reported.reporter.drain()] == ["1-0"]
    reported.reporter.flush()
    assert reported.log == []
