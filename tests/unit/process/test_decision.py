"""The table of decisions, in full."""

from __future__ import annotations

import pytest

from celeriac.process.decision import Missing, ProcessDecision, Status, Trigger, decide

SKIP, RUN = ProcessDecision.SKIP, ProcessDecision.RUN


@pytest.mark.parametrize(
    ("status", "by_trigger"),
    [
        (None, (ProcessDecision.START, ProcessDecision.WAIT, SKIP, SKIP, SKIP)),
        (Status.OPEN, (RUN, RUN, RUN, SKIP, ProcessDecision.ABORT)),
        (Status.COMPLETED, (SKIP, SKIP, SKIP, SKIP, SKIP)),
        (Status.ABORTED, (SKIP, SKIP, SKIP, SKIP, SKIP)),
    ],
)
def test_every_pair_has_one_decision(
    status: Status | None, by_trigger: tuple[ProcessDecision, ...]
) -> None:
    assert tuple(decide(status, trigger, "wait") for trigger in Trigger) == by_trigger


@pytest.mark.parametrize(
    ("missing", "decision"),
    [
        ("wait", ProcessDecision.WAIT),
        ("start", ProcessDecision.START),
        ("skip", ProcessDecision.SKIP),
    ],
)
def test_missing_decides_only_without_an_instance(
    missing: Missing, decision: ProcessDecision
) -> None:
    assert decide(None, Trigger.CONTINUES, missing) is decision
    assert decide(Status.OPEN, Trigger.CONTINUES, missing) is ProcessDecision.RUN
    assert decide(Status.COMPLETED, Trigger.CONTINUES, missing) is ProcessDecision.SKIP
