"""The table of decisions, in full."""

from __future__ import annotations

import pytest

from celeriac.process.decision import Decision, Missing, Status, Trigger, decide

SKIP, RUN = Decision.SKIP, Decision.RUN


@pytest.mark.parametrize(
    ("status", "by_trigger"),
    [
        (None, (Decision.START, Decision.WAIT, SKIP, SKIP, SKIP)),
        (Status.OPEN, (RUN, RUN, RUN, SKIP, Decision.ABORT)),
        (Status.COMPLETED, (SKIP, SKIP, SKIP, SKIP, SKIP)),
        (Status.ABORTED, (SKIP, SKIP, SKIP, SKIP, SKIP)),
    ],
)
def test_every_pair_has_one_decision(
    status: Status | None, by_trigger: tuple[Decision, ...]
) -> None:
    assert tuple(decide(status, trigger, "wait") for trigger in Trigger) == by_trigger


@pytest.mark.parametrize(
    ("missing", "decision"),
    [("wait", Decision.WAIT), ("start", Decision.START), ("skip", Decision.SKIP)],
)
def test_missing_decides_only_without_an_instance(missing: Missing, decision: Decision) -> None:
    assert decide(None, Trigger.CONTINUES, missing) is decision
    assert decide(Status.OPEN, Trigger.CONTINUES, missing) is Decision.RUN
    assert decide(Status.COMPLETED, Trigger.CONTINUES, missing) is Decision.SKIP
