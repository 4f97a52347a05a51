"""What a process does with an event: one table of its instance's status and the kind of event."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

Missing = Literal["wait", "start", "skip"]


class Status(StrEnum):
    """The status of an instance. Ended instances are kept for a time as tombstones."""

    OPEN = "open"
    COMPLETED = "completed"
    ABORTED = "aborted"


class Trigger(StrEnum):
    """The kind of an event, for one instance."""

    STARTS = "starts"  # a type of @starts
    CONTINUES = "continues"  # a type of @on
    REMINDS = "reminds"  # a timer that is still set
    OUTDATED = "outdated"  # a timer that was forgotten, set again, or has fired
    ABORTS = "aborts"  # the request of an operator


class ProcessDecision(StrEnum):
    START = "start"  # run the method on a new instance
    RUN = "run"  # run the method
    WAIT = "wait"  # retry later: no event has started the instance yet
    SKIP = "skip"
    ABORT = "abort"


# Every pair that is not here is skipped.
_TABLE = {
    (None, Trigger.STARTS): ProcessDecision.START,
    (Status.OPEN, Trigger.STARTS): ProcessDecision.RUN,
    (Status.OPEN, Trigger.CONTINUES): ProcessDecision.RUN,
    (Status.OPEN, Trigger.REMINDS): ProcessDecision.RUN,
    (Status.OPEN, Trigger.ABORTS): ProcessDecision.ABORT,
}
_MISSING: dict[Missing, ProcessDecision] = {
    "wait": ProcessDecision.WAIT,
    "start": ProcessDecision.START,
    "skip": ProcessDecision.SKIP,
}


def decide(status: Status | None, trigger: Trigger, missing: Missing) -> ProcessDecision:
    """Return what to do. `status` is None if there is no instance. Pure."""
    if status is None and trigger is Trigger.CONTINUES:
        return _MISSING[missing]
    return _TABLE.get((status, trigger), ProcessDecision.SKIP)
