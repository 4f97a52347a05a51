"""What came of settling: counts of what happened, and what is left or dead."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from celeriac.delivery import DeadLetter, Outcome
from celeriac.errors import InvalidEvent
from celeriac.event import Event, decode, decode_data
from celeriac.executor import FailedAttempt, Report


@dataclass(slots=True)
class Settlement:
    """How many deliveries were processed, skipped by `when=`, failed and retried, given up.

    `failures` holds each failed attempt with its exception; `crashed` counts the processes that
    died of `crash_before_ack`.
    """

    processed: int = 0
    skipped: int = 0
    retried: int = 0
    dead: int = 0
    crashed: int = 0
    failures: list[FailedAttempt] = field(default_factory=list)

    def add(self, report: Report) -> None:
        self.processed += report.processed
        self.skipped += report.skipped
        retried = sum(failure.outcome is Outcome.RETRY for failure in report.failures)
        self.retried += retried
        self.dead += len(report.failures) - retried
        self.failures += report.failures


@dataclass(frozen=True, slots=True)
class Dead:
    """A delivery that was given up. `event` is None where the log held something else.

    `exception` is what the handler raised in the last attempt; None where it did not run.
    """

    handler: str
    event: Event[Any] | None
    attempts: int
    error: str
    exception: BaseException | None = None

    @classmethod
    def of(cls, letter: DeadLetter, exception: BaseException | None) -> Dead:
        try:
            event = decode_data(decode(letter.event), Any)
        except InvalidEvent:
            event = None
        return cls(letter.handler, event, letter.attempts, letter.error, exception)

    def __str__(self) -> str:
        event = f"{self.event.type} {self.event.id}" if self.event else "no event at all"
        attempts = "1 attempt" if self.attempts == 1 else f"{self.attempts} attempts"
        return f"{self.handler}: {event}, after {attempts}: {self.error}"


@dataclass(frozen=True, slots=True)
class Left:
    """A delivery that was not settled. `due_in` is in seconds."""

    handler: str
    event: str
    place: str
    due_in: float | None = None

    def __str__(self) -> str:
        due = "" if self.due_in is None else f" in {self.due_in:g} s"
        return f"{self.handler or 'not yet emitted'}: {self.event} is {self.place}{due}"


class Unsettled(AssertionError):
    """`settle` reached its bound of steps: handlers that emit for one another without an end?

    `left` lists what was not settled.
    """

    def __init__(self, steps: int, left: list[Left]) -> None:
        self.left = left
        lines = "".join(f"\n  {one}" for one in left[:20])
        more = f"\n  … and {len(left) - 20} more" if len(left) > 20 else ""
        super().__init__(
            f"not settled after {steps} steps; do handlers emit for one another without an end? "
            f"settle(most_steps=...) sets the bound. Left:{lines}{more}"
        )
